#![doc = include_str!("../README.md")]
//!
//! # Inside
//! A few writers commit what waits in groups (`writer.rs`); events may live in partitions by time (`partition.rs`). The layout
//! is in `sql/schema.sql`, what people see is in `sql/views.sql`.

mod catalog;
mod column;
mod config;
mod connection;
mod copy;
mod deletion;
mod escape;
mod event;
mod header;
mod kept;
mod maintenance;
mod partition;
mod replica;
mod schema;
mod select;
mod settings;
mod stream;
mod writer;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use reflow_tracing_model::{
    FlowId, FlowTrace, FlowVersion, Position, TraceEvent, TraceId, TracePage, TraceQuery, Window,
};
use reflow_tracing_storage::metered;
use reflow_tracing_storage::metrics::Metered;
use reflow_tracing_storage::{
    Deletion, Detail, PageRequest, StorageBackend, StorageError, StorageExtras, StorageMetrics, StorageStats, TracePart,
};
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

pub use config::{PartitionInterval, PostgresConfig};
use connection::{Server, read, retried};
use event::EventRow;
use header::{Found, HeaderRow, Place};
use maintenance::Maintenance;
use partition::Partitions;
use replica::Replica;
use select::{Select, Statement};
pub use settings::{ServerSettings, SettingAdvice, SettingChange};
use writer::Writer;

/// Stores traces in a PostgreSQL database.
///
/// An acknowledged write is committed. The server's `synchronous_commit` and `fsync` determine its durability.
pub struct PostgresStorage(Metered<PostgresBackend>);

/// The backend without its measurements.
struct PostgresBackend {
    server: Arc<Server>,
    writer: Writer,
    partitioned: Option<Partitioned>,
}

struct Partitioned {
    partitions: Arc<Partitions>,
    retention_days: u32,
    maintenance: Maintenance,
}

impl PostgresStorage {
    /// Opens the database at `connection_url` with the default settings. Creates the tables if they are missing.
    pub async fn new(connection_url: impl Into<String>) -> Result<Self, StorageError> {
        Self::with_config(PostgresConfig { connection_url: connection_url.into(), ..PostgresConfig::default() }).await
    }

    /// Opens the database that `config` names. Creates the tables if they are missing.
    ///
    /// Fails with [`StorageError::Configuration`] if the server rejects the user, or the schema belongs to another program or
    /// another version; the schema is not changed then. Fails with [`StorageError::Unavailable`] if the server can't be
    /// reached.
    pub async fn with_config(config: PostgresConfig) -> Result<Self, StorageError> {
        if let Some(problem) = config.problem() {
            return Err(StorageError::Configuration(format!("in the settings of PostgreSQL: {problem}")));
        }
        let mut server = Server::primary(&config)?;
        schema::prepare(&server, &config).await?;
        if let Some(url) = &config.read_replica_url {
            server.replica = Some(Replica::open(&config, url, &server).await?);
        }
        let server = Arc::new(server);
        let partitions = config
            .enable_partitioning
            .then(|| Arc::new(Partitions::new(config.partition_interval, config.auto_create_partitions)));
        let writer = Writer::start(&server, partitions.as_ref());
        let partitioned = partitions.map(|partitions| Partitioned {
            maintenance: Maintenance::start(server.clone(), partitions.clone(), config.partition_retention_days),
            partitions,
            retention_days: config.partition_retention_days,
        });
        Ok(Self(Metered::around(PostgresBackend { server, writer, partitioned })))
    }

    /// Drops expired partitions with their traces, as the background maintenance does every ten minutes. Returns the number of
    /// partitions.
    pub async fn drop_expired_partitions(&self) -> Result<u64, StorageError> {
        let PostgresBackend { server, partitioned, .. } = self.0.inner();
        let Some(Partitioned { partitions, retention_days, .. }) = partitioned else { return Ok(0) };
        maintenance::drop_expired(server, partitions, *retention_days).await
    }
}

metered!(PostgresStorage);

/// The events at a location in order.
async fn events_at(connection: &mut PgConnection, place: Place) -> sqlx::Result<Vec<TraceEvent>> {
    let query = sqlx::query(include_str!("sql/get_events.sql")).bind(place.sequence).bind(place.placed_at);
    query.fetch_all(connection).await?.iter().map(event::read).collect()
}

/// The location of the events of a trace, with or without a header.
async fn place_of(connection: &mut PgConnection, trace_id: TraceId) -> sqlx::Result<Option<Place>> {
    let query = sqlx::query("SELECT seq, placed_at FROM trace WHERE trace_id = $1").bind(trace_id.0);
    query.fetch_optional(connection).await?.as_ref().map(Place::read).transpose()
}

async fn header_of(connection: &mut PgConnection, trace_id: TraceId) -> sqlx::Result<Option<Found>> {
    let query = sqlx::query(include_str!("sql/get_header.sql")).bind(trace_id.0);
    query.fetch_optional(connection).await?.as_ref().map(Found::read).transpose()
}

/// A complete trace. The header and the events are read separately. A concurrent deletion removes all events, so a trace
/// without events is looked up again.
async fn trace(connection: &mut PgConnection, trace_id: TraceId) -> sqlx::Result<Option<FlowTrace>> {
    let mut found = header_of(connection, trace_id).await?;
    while let Some(Found { header, place }) = found {
        let events = events_at(connection, place).await?;
        if !events.is_empty() {
            return Ok(Some(FlowTrace { events, ..header }));
        }
        let again = header_of(connection, trace_id).await?;
        match again {
            Some(again) if again.place == place => return Ok(Some(header)),
            again => found = again,
        }
    }
    Ok(None)
}

/// The traces that a statement for `window` finds, and the token of the next page, if there is one.
async fn page(
    connection: &mut PgConnection,
    statement: &Statement,
    window: Window,
) -> sqlx::Result<(Vec<Found>, Option<String>)> {
    let rows = statement.query().fetch_all(connection).await?;
    let mut found = rows.iter().map(Found::read).collect::<sqlx::Result<Vec<_>>>()?;
    // One more trace than requested: another page follows.
    let more = found.len() > window.limit;
    found.truncate(window.limit);
    let last = found.last().filter(|_| more);
    let token = last.map(|last| Position::of(&last.header).token());
    Ok((found, token))
}

/// Adds the events of traces. Omits traces that were deleted meanwhile.
async fn complete(connection: &mut PgConnection, found: Vec<Found>) -> sqlx::Result<Vec<FlowTrace>> {
    let sequences: Vec<i64> = found.iter().map(|found| found.place.sequence).collect();
    let places: BTreeSet<i64> = found.iter().map(|found| found.place.placed_at).collect();
    let mut events: HashMap<i64, Vec<TraceEvent>> = HashMap::new();
    let mut rows = sqlx::query(include_str!("sql/get_events_of_traces.sql"))
        .bind(&sequences)
        .bind(places.into_iter().collect::<Vec<_>>())
        // Not prepared, so that the server plans it for these locations and skips other partitions.
        .persistent(false)
        .fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        events.entry(row.try_get(28)?).or_default().push(event::read(&row)?);
    }
    drop(rows);
    let without: Vec<i64> = sequences.into_iter().filter(|sequence| !events.contains_key(sequence)).collect();
    if !without.is_empty() {
        let there: Vec<i64> =
            sqlx::query_scalar("SELECT seq FROM trace WHERE seq = ANY($1)").bind(without).fetch_all(connection).await?;
        events.extend(there.into_iter().map(|sequence| (sequence, Vec::new())));
    }
    let with_events =
        |Found { header, place }: Found| events.remove(&place.sequence).map(|events| FlowTrace { events, ..header });
    Ok(found.into_iter().filter_map(with_events).collect())
}

#[async_trait]
impl StorageBackend for PostgresBackend {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.store_traces(vec![trace]).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        read!(self.server, |connection| trace(connection, trace_id).await)
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        read!(self.server, |connection| match place_of(connection, trace_id).await? {
            Some(place) => events_at(connection, place).await,
            None => Ok(Vec::new()),
        })
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        let problem: Option<String> = retried!(self.server, |connection| {
            sqlx::query_scalar(include_str!("sql/health.sql")).fetch_one(connection).await
        })?;
        if let Some(replica) = &self.server.replica
            && let Some(session) = replica.session().await
        {
            // Without reads, nothing else notices that the replica is gone.
            replica.server.rest(session);
        }
        match problem {
            Some(problem) => Err(StorageError::Unavailable(problem)),
            None => self.writer.check(),
        }
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        let mut headers = Vec::with_capacity(traces.len());
        let mut events = Vec::new();
        for mut trace in traces {
            let trace_id = trace.trace_id;
            for event in std::mem::take(&mut trace.events) {
                events.push(EventRow::new(trace_id, event)?);
            }
            headers.push(HeaderRow::new(trace)?);
        }
        self.writer.write(headers, events).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        let rows = events.into_iter().map(|(trace_id, event)| EventRow::new(trace_id, event));
        self.writer.write(Vec::new(), rows.collect::<Result<_, _>>()?).await
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        let PageRequest { query, detail, total } = request;
        query.validate().map_err(StorageError::InvalidArgument)?;
        let window = query.window().map_err(StorageError::InvalidArgument)?;
        let count = total.then(|| Select::new(&query).map(Select::count)).transpose()?;
        let wanted = Select::new(&query)?.page(window);
        read!(self.server, |connection| {
            let total = match &count {
                Some(count) => {
                    Some(count.query().fetch_one(&mut *connection).await?.try_get::<i64, _>(0)?.cast_unsigned())
                }
                None => None,
            };
            let (found, next_page_token) = match window.limit {
                0 => (Vec::new(), None),
                _ => page(connection, &wanted, window).await?,
            };
            let traces = match detail {
                Detail::Traces if !found.is_empty() => complete(connection, found).await?,
                _ => found.into_iter().map(|found| found.header).collect(),
            };
            Ok(TracePage { traces, next_page_token, total })
        })
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        stream::traces(&self.server, query)
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let ids: Vec<Uuid> = trace_ids.iter().map(|trace_id| trace_id.0).collect();
        let headers: BTreeMap<TraceId, FlowTrace> = read!(self.server, |connection| {
            let rows = sqlx::query(include_str!("sql/get_headers.sql")).bind(&ids).fetch_all(connection).await?;
            let headers = rows.iter().map(|row| Found::read(row).map(|found| (found.header.trace_id, found.header)));
            headers.collect()
        })?;
        Ok(trace_ids.iter().map(|trace_id| headers.get(trace_id).cloned()).collect())
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        stream::events(&self.server, trace_id)
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        match deletion {
            Deletion::Traces(trace_ids) => deletion::traces(&self.server, &trace_ids).await,
            Deletion::StartedBefore(time) => deletion::before(&self.server, time).await,
        }
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        let flow = escape::escape(flow_id.as_str());
        let versions: BTreeSet<FlowVersion> = read!(self.server, |connection| {
            let sql = "SELECT DISTINCT version FROM trace WHERE flow_id = $1 AND start_time IS NOT NULL";
            let rows = sqlx::query(sql).bind(&*flow).fetch_all(connection).await?;
            rows.iter().map(|row| column::json(row, 0)).collect()
        })?;
        Ok(versions.into_iter().collect())
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        read!(self.server, |connection| {
            let row = sqlx::query(include_str!("sql/stats.sql")).fetch_one(connection).await?;
            let count = |column: usize| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
            let time = |column: usize| -> sqlx::Result<_> {
                Ok(row.try_get::<Option<i64>, _>(column)?.map(DateTime::from_timestamp_nanos))
            };
            Ok(StorageStats {
                traces: count(0)?,
                events: count(1)?,
                bytes: Some(count(2)?),
                oldest: time(3)?,
                newest: time(4)?,
            })
        })
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        read!(self.server, |connection| {
            let bytes: i64 = sqlx::query_scalar(include_str!("sql/size.sql")).fetch_one(connection).await?;
            Ok(StorageMetrics::unmeasured(Some(bytes.cast_unsigned())))
        })
    }

    async fn flush(&self) -> Result<(), StorageError> {
        retried!(self.server, |connection| {
            // A commit that waits for its own log record waits for all commits before it.
            let mut transaction = connection.begin().await?;
            sqlx::raw_sql(
                "SET LOCAL synchronous_commit = on; SELECT pg_logical_emit_message(true, 'reflow-tracing', '')",
            )
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await
        })
    }

    async fn close(&self) -> Result<(), StorageError> {
        if let Some(partitioned) = &self.partitioned {
            partitioned.maintenance.stop();
        }
        let flushed = self.flush().await;
        self.server.close().await;
        match flushed {
            // Acknowledged writes are committed.
            Err(StorageError::Unavailable(reason)) => tracing::info!("closed without a flush: {reason}"),
            other => other?,
        }
        Ok(())
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[async_trait]
impl StorageExtras for PostgresBackend {
    fn warnings(&self) -> Vec<String> {
        let replica = self.server.replica.iter().filter_map(|replica| replica.warning());
        let maintenance = self.partitioned.iter().filter_map(|partitioned| partitioned.maintenance.warning());
        replica.chain(maintenance).chain(self.writer.warnings()).collect()
    }

    fn concurrent_writes(&self) -> usize {
        self.writer.at_once()
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        let days = self.partitioned.as_ref()?.retention_days;
        (days > 0).then(|| Utc::now() - TimeDelta::days(days.into()))
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        read!(self.server, |connection| {
            let query = sqlx::query_scalar(include_str!("sql/headerless.sql"));
            let ids: Vec<Uuid> = query.bind(after.map(|after| after.0)).bind(limit).fetch_all(connection).await?;
            Ok(ids.into_iter().map(TraceId).collect())
        })
    }

    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        match &self.partitioned {
            Some(Partitioned { partitions, .. }) => {
                maintenance::drop_oldest(&self.server, partitions, ended_by).await.map(Some)
            }
            None => Ok(None),
        }
    }
}
