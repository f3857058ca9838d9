use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::metrics::Metered;
use reflow_tracing_storage::sql::EventRow;
use reflow_tracing_storage::write_queue::Workers;
use reflow_tracing_storage::{
    Deletion, Detail, PageRequest, StorageBackend, StorageError, StorageExtras, StorageMetrics, StorageStats,
    TracePart, metered,
};
use sqlx::{Connection, Row};
use uuid::Uuid;

use crate::config::PostgresConfig;
use crate::connection::Server;
use crate::database::{Database, read, retried};
use crate::header::{Found, HeaderRow};
use crate::layout::Layout;
use crate::maintenance::Maintenance;
use crate::partition::Partitions;
use crate::read::{complete, events_at, location_of, page, trace};
use crate::select::Select;
use crate::writer::Write;
use crate::{column, deletion, escape, leases, maintenance, schema, stream, writer};

/// Stores traces in a PostgreSQL database.
///
/// An acknowledged write is committed. The server's `synchronous_commit` and `fsync` determine its durability.
pub struct PostgresStorage(Metered<PostgresBackend>);

/// The backend without its measurements.
struct PostgresBackend {
    database: Arc<Database>,
    /// `None` if the tables were opened for reading only.
    writer: Option<Workers<Write>>,
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

    /// Opens the database that `config` names. Creates the tables if they are missing, unless they are for
    /// [reading only](PostgresConfig::read_only).
    ///
    /// Fails with [`StorageError::Configuration`] if the server rejects the user, or the schema belongs to another program or
    /// another version; the schema is not changed then. Fails with [`StorageError::Unavailable`] if the server can't be
    /// reached.
    pub async fn with_config(config: PostgresConfig) -> Result<Self, StorageError> {
        config.check()?;
        let primary = Server::primary(&config)?;
        primary.check_sessions().await?;
        if config.read_only {
            let layout = schema::check_to_read(&primary, &config).await?;
            let database = Arc::new(Database::open(&config, primary, layout).await?);
            return Ok(Self(Metered::around(PostgresBackend { database, writer: None, partitioned: None })));
        }
        schema::prepare(&primary, &config).await?;
        let database = Arc::new(Database::open(&config, primary, Layout::Newest).await?);
        let partitions = config
            .enable_partitioning
            .then(|| Arc::new(Partitions::new(config.partition_interval, config.auto_create_partitions)));
        let writer = Some(writer::start(&database, partitions.as_ref()));
        let partitioned = partitions.map(|partitions| Partitioned {
            maintenance: Maintenance::start(database.clone(), partitions.clone(), config.partition_retention_days),
            partitions,
            retention_days: config.partition_retention_days,
        });
        Ok(Self(Metered::around(PostgresBackend { database, writer, partitioned })))
    }

    /// Drops expired partitions with their traces, as the background maintenance does every ten minutes. Returns the number of
    /// partitions.
    pub async fn drop_expired_partitions(&self) -> Result<u64, StorageError> {
        let PostgresBackend { database, partitioned, .. } = self.0.inner();
        let Some(Partitioned { partitions, retention_days, .. }) = partitioned else { return Ok(0) };
        maintenance::drop_expired(database, partitions, *retention_days).await
    }
}

metered!(PostgresStorage);

impl PostgresBackend {
    fn writer(&self) -> Result<&Workers<Write>, StorageError> {
        self.writer.as_ref().ok_or_else(|| StorageError::read_only(&self.database.primary.target))
    }
}

#[async_trait]
impl StorageBackend for PostgresBackend {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.store_traces(vec![trace]).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        read!(self.database, |connection| trace(connection, self.database.layout, trace_id).await)
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        read!(self.database, |connection| match location_of(connection, trace_id).await? {
            Some(location) => events_at(connection, self.database.layout, location).await,
            None => Ok(Vec::new()),
        })
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        let sql = match self.writer {
            Some(_) => include_str!("sql/health.sql"),
            None => "SELECT NULL::text FROM schema_version",
        };
        let problem: Option<String> =
            retried!(self.database, |connection| sqlx::query_scalar(sql).fetch_one(connection).await)?;
        if let Some(replica) = &self.database.replica
            && let Some(session) = replica.session().await
        {
            // Without reads, nothing else notices that the replica is gone.
            replica.server.rest(session);
        }
        match problem {
            Some(problem) => Err(StorageError::Unavailable(problem)),
            None => self.writer.as_ref().map_or(Ok(()), Workers::check),
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
        self.writer()?.write(Write::new(headers, events)).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        let rows = events.into_iter().map(|(trace_id, event)| EventRow::new(trace_id, event));
        self.writer()?.write(Write::new(Vec::new(), rows.collect::<Result<_, _>>()?)).await
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        let PageRequest { query, detail, total } = request;
        query.validate().map_err(StorageError::InvalidArgument)?;
        let window = query.window().map_err(StorageError::InvalidArgument)?;
        let count = total.then(|| Select::new(&query).map(Select::count)).transpose()?;
        let wanted = Select::new(&query)?.page(window);
        let layout = self.database.layout;
        read!(self.database, |connection| {
            let total = match &count {
                Some(count) => {
                    Some(count.query(layout).fetch_one(&mut *connection).await?.try_get::<i64, _>(0)?.cast_unsigned())
                }
                None => None,
            };
            let (found, next_page_token) = match window.limit {
                0 => (Vec::new(), None),
                _ => page(connection, layout, &wanted, window).await?,
            };
            let traces = match detail {
                Detail::Traces if !found.is_empty() => complete(connection, layout, found).await?,
                _ => found.into_iter().map(|found| found.header).collect(),
            };
            Ok(TracePage { traces, next_page_token, total })
        })
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        stream::traces(&self.database, query)
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let ids: Vec<Uuid> = trace_ids.iter().map(|trace_id| trace_id.0).collect();
        let headers: BTreeMap<TraceId, FlowTrace> = read!(self.database, |connection| {
            let sql = self.database.layout.select(include_str!("sql/get_headers.sql"));
            let rows = sqlx::query(sql).bind(&ids).fetch_all(connection).await?;
            let headers = rows.iter().map(|row| Found::read(row).map(|found| (found.header.trace_id, found.header)));
            headers.collect()
        })?;
        Ok(trace_ids.iter().map(|trace_id| headers.get(trace_id).cloned()).collect())
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        stream::events(&self.database, trace_id)
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        self.writer()?;
        match deletion {
            Deletion::Traces(trace_ids) => deletion::traces(&self.database, &trace_ids).await,
            Deletion::StartedBefore(time) => deletion::before(&self.database, time).await,
        }
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        let flow = escape::escape(flow_id.as_str());
        let versions: BTreeSet<FlowVersion> = read!(self.database, |connection| {
            let sql = "SELECT DISTINCT version FROM trace WHERE flow_id = $1 AND start_time IS NOT NULL";
            let rows = sqlx::query(sql).bind(&*flow).fetch_all(connection).await?;
            rows.iter().map(|row| column::json(row, 0)).collect()
        })?;
        Ok(versions.into_iter().collect())
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        read!(self.database, |connection| {
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
        read!(self.database, |connection| {
            let bytes: i64 = sqlx::query_scalar(include_str!("sql/size.sql")).fetch_one(connection).await?;
            Ok(StorageMetrics::unmeasured(Some(bytes.cast_unsigned())))
        })
    }

    async fn flush(&self) -> Result<(), StorageError> {
        if self.writer.is_none() {
            return Ok(());
        }
        retried!(self.database, |connection| {
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
        self.database.close().await;
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
        let replica = self.database.replica.iter().filter_map(|replica| replica.warning());
        let maintenance = self.partitioned.iter().filter_map(|partitioned| partitioned.maintenance.warning());
        replica.chain(maintenance).chain(self.writer.iter().flat_map(Workers::warnings)).collect()
    }

    fn concurrent_writes(&self) -> usize {
        self.writer.as_ref().map_or(1, Workers::at_once)
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        let days = self.partitioned.as_ref()?.retention_days;
        (days > 0).then(|| Utc::now() - TimeDelta::days(days.into()))
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        read!(self.database, |connection| {
            let query = sqlx::query_scalar(include_str!("sql/headerless.sql"));
            let ids: Vec<Uuid> = query.bind(after.map(|after| after.0)).bind(limit).fetch_all(connection).await?;
            Ok(ids.into_iter().map(TraceId).collect())
        })
    }

    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        match &self.partitioned {
            Some(Partitioned { partitions, .. }) => {
                maintenance::drop_oldest(&self.database, partitions, ended_by).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn renew_lease(&self, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
        self.writer()?;
        leases::renew(&self.database, host, duration).await
    }

    async fn begin_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.writer()?;
        let partitions = self.partitioned.as_ref().map(|partitioned| &*partitioned.partitions);
        leases::begin(&self.database, partitions, host, headers).await
    }

    async fn leave_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.writer()?;
        leases::leave(&self.database, host, headers).await
    }

    async fn abandoned_traces(&self, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
        leases::abandoned(&self.database, limit).await
    }
}
