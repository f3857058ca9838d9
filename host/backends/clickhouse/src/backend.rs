use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::metrics::Metered;
use reflow_tracing_storage::write_queue::Workers;
use reflow_tracing_storage::{
    Deletion, PageRequest, StorageBackend, StorageError, StorageExtras, StorageMetrics, StorageStats, TracePart,
    metered,
};
use uuid::Uuid;

use crate::batch::Write;
use crate::config::ClickHouseConfig;
use crate::connection::Server;
use crate::header::StoredHeader;
use crate::lookup::Spans;
use crate::metrics::{EventMetrics, EventMetricsQuery, EventsPerMinute};
use crate::{delete, header, leases, literal, lookup, metrics, read, schema, search, stream, writer};

/// Stores traces in a ClickHouse database.
///
/// The server has stored an acknowledged write. Its `fsync_after_insert` and similar settings determine when it reaches the
/// disk.
pub struct ClickHouseStorage(Metered<ClickHouseBackend>);

/// The backend without its measurements.
struct ClickHouseBackend {
    server: Arc<Server>,
    /// `None` if the tables were opened for reading only.
    writer: Option<Workers<Write>>,
    retention_days: u32,
}

impl ClickHouseStorage {
    /// Opens the database `tracing` of the server at `url` with the default settings. Creates it if it is missing.
    pub async fn new(url: impl Into<String>) -> Result<Self, StorageError> {
        Self::with_config(ClickHouseConfig { url: url.into(), ..ClickHouseConfig::default() }).await
    }

    /// Opens the database that `config` names. Creates it and its tables if they are missing, unless they are for
    /// [reading only](ClickHouseConfig::read_only).
    ///
    /// Fails with [`StorageError::Configuration`] if the server rejects the user, or the database belongs to another program or
    /// another version; it is not changed then. Fails with [`StorageError::Unavailable`] if the server can't be reached.
    pub async fn with_config(config: ClickHouseConfig) -> Result<Self, StorageError> {
        if let Some(problem) = config.problem() {
            return Err(StorageError::Configuration(format!("in the settings of ClickHouse: {problem}")));
        }
        let (server, writer) = if config.read_only {
            let mut server = Server::to_read(&config).await?;
            schema::check_to_read(&mut server, &config).await?;
            (Arc::new(server), None)
        } else {
            let server = Arc::new(Server::new(&config));
            schema::prepare(&server, &config).await?;
            (server.clone(), Some(writer::start(server, &config)))
        };
        Ok(Self(Metered::around(ClickHouseBackend { server, writer, retention_days: config.retention_days })))
    }

    /// The number of events per minute, ascending, without minutes that have none.
    ///
    /// An event counts once, when it is first stored, even if this process or a later one stores it again. Two processes that
    /// run at the same time and store the same event count it twice. Deleted traces stay counted, because this reports what
    /// happened.
    pub async fn events_per_minute(&self, query: &EventMetricsQuery) -> Result<Vec<EventsPerMinute>, StorageError> {
        metrics::per_minute(&self.0.inner().server, query).await
    }

    /// Statistics of events per actor and kind, ordered by actor and kind. [`events_per_minute`](Self::events_per_minute)
    /// documents which events count.
    pub async fn event_metrics(&self, query: &EventMetricsQuery) -> Result<Vec<EventMetrics>, StorageError> {
        metrics::per_actor(&self.0.inner().server, query).await
    }
}

metered!(ClickHouseStorage);

/// Traces per statement about leases, because the statement lists their ids.
const LEASED_AT_ONCE: usize = 10_000;

impl ClickHouseBackend {
    fn writer(&self) -> Result<&Workers<Write>, StorageError> {
        self.writer.as_ref().ok_or_else(|| StorageError::read_only(&self.server.target))
    }
}

#[async_trait]
impl StorageBackend for ClickHouseBackend {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.store_traces(vec![trace]).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let Some(spans) = read::spans(&self.server, trace_id).await? else { return Ok(None) };
        let (header, events) =
            tokio::try_join!(read::header(&self.server, trace_id, spans), read::events(&self.server, trace_id, spans))?;
        Ok(header.map(|header| FlowTrace { events, ..header }))
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        match read::spans(&self.server, trace_id).await? {
            Some(spans) => read::events(&self.server, trace_id, spans).await,
            None => Ok(Vec::new()),
        }
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        let Some(writer) = &self.writer else {
            return read::spans(&self.server, TraceId::default()).await.map(|_| ());
        };
        // An insert of no rows needs everything that a write needs, and stores nothing.
        for table in [&self.server.tables.events, &self.server.tables.traces] {
            let sql = format!("INSERT INTO {table} (trace_id) SELECT generateUUIDv4() FROM numbers(0)");
            self.server.execute(&sql).await?;
        }
        writer.check()
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        let mut events = Vec::new();
        let mut headers = traces;
        for header in &mut headers {
            let trace_id = header.trace_id;
            events.extend(std::mem::take(&mut header.events).into_iter().map(|event| (trace_id, event)));
        }
        self.writer()?.write(Write::new(headers, events)).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        self.writer()?.write(Write::new(Vec::new(), events)).await
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        search::page(&self.server, request).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let mut headers = HashMap::new();
        for ids in trace_ids.chunks(self.server.ids_at_once) {
            let spans = Spans::of(lookup::spans(&self.server, ids.iter().copied()).await?.values());
            if spans.starts.is_empty() {
                continue;
            }
            let sql = format!(
                "SELECT {} FROM {} WHERE {} AND trace_id IN {} ORDER BY stored_at DESC LIMIT 1 BY trace_id",
                header::COLUMNS,
                self.server.tables.traces,
                spans.starts.contains("start_time"),
                literal::ids(ids.iter().copied())
            );
            for found in self.server.rows::<StoredHeader>(&sql).await? {
                headers.insert(found.trace_id(), found.header()?);
            }
        }
        Ok(trace_ids.iter().map(|trace_id| headers.get(trace_id).cloned()).collect())
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        stream::events(&self.server, trace_id)
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        stream::traces(&self.server, query)
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        self.writer()?;
        match deletion {
            Deletion::Traces(trace_ids) => delete::traces(&self.server, &trace_ids).await,
            Deletion::StartedBefore(time) => delete::before(&self.server, time).await,
        }
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        let (table, flow) = (&self.server.tables.traces, literal::text(flow_id.as_str()));
        let sql = format!(
            "SELECT DISTINCT latest.2 FROM (SELECT argMax((flow_id, version), stored_at) AS latest FROM {table} \
             WHERE trace_id GLOBAL IN (SELECT trace_id FROM {table} WHERE flow_id = {flow}) GROUP BY trace_id) \
             WHERE latest.1 = {flow}"
        );
        let versions: Vec<String> = self.server.rows(&sql).await?;
        let versions = versions.iter().map(|version| serde_json::from_str(version));
        Ok(versions.collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        let tables = &self.server.tables;
        let traces = format!(
            "SELECT count(), min(start), max(start) FROM \
             (SELECT toUnixTimestamp64Nano(argMax(start_time, stored_at)) AS start FROM {} GROUP BY trace_id)",
            tables.traces
        );
        let events =
            format!("SELECT count() FROM (SELECT 1 FROM {} GROUP BY trace_id, timestamp, event_id)", tables.events);
        let (traces, oldest, newest) = self.server.row::<(u64, i64, i64)>(&traces).await?;
        let time = |at: i64| (traces > 0).then(|| DateTime::from_timestamp_nanos(at));
        Ok(StorageStats {
            traces,
            events: self.server.row(&events).await?,
            bytes: Some(read::bytes(&self.server).await?),
            oldest: time(oldest),
            newest: time(newest),
        })
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        Ok(StorageMetrics::unmeasured(Some(read::bytes(&self.server).await?)))
    }

    async fn flush(&self) -> Result<(), StorageError> {
        match &self.writer {
            Some(writer) => writer.flush().await,
            None => Ok(()),
        }
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.flush().await?;
        self.server.close();
        Ok(())
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[async_trait]
impl StorageExtras for ClickHouseBackend {
    fn warnings(&self) -> Vec<String> {
        self.writer.iter().flat_map(Workers::warnings).collect()
    }

    fn concurrent_writes(&self) -> usize {
        self.writer.as_ref().map_or(1, Workers::at_once)
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        (self.retention_days > 0).then(|| Utc::now() - TimeDelta::days(self.retention_days.into()))
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        lookup::headerless(&self.server, after, limit).await
    }

    async fn renew_lease(&self, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
        self.writer()?;
        leases::renew(&self.server, host, duration).await
    }

    async fn begin_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.writer()?;
        headers.iter().try_for_each(FlowTrace::validate)?;
        for headers in headers.chunks(LEASED_AT_ONCE) {
            let ids: Vec<_> = headers.iter().map(|header| header.trace_id).collect();
            leases::hold(&self.server, host, &ids, true).await?;
            let known = self.get_headers(ids).await?;
            let absent = headers.iter().zip(known).filter(|(_, known)| known.is_none());
            let absent: Vec<_> = absent.map(|(header, _)| header.clone()).collect();
            if !absent.is_empty() {
                self.store_traces(absent).await?;
            }
        }
        Ok(())
    }

    async fn leave_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.writer()?;
        headers.iter().try_for_each(FlowTrace::validate)?;
        for headers in headers.chunks(LEASED_AT_ONCE) {
            let ids: Vec<_> = headers.iter().map(|header| header.trace_id).collect();
            leases::hold(&self.server, host, &ids, false).await?;
            let held = leases::held(&self.server, &ids).await?;
            let known = self.get_headers(ids).await?;
            let is_running = |known: Option<FlowTrace>| known.is_none_or(|known| known.end_time.is_none());
            let is_left = |header: &FlowTrace| header.end_time.is_some() && !held.contains(&header.trace_id);
            let ended = headers.iter().zip(known).filter(|(header, _)| is_left(header));
            let ended: Vec<_> = ended.filter_map(|(header, known)| is_running(known).then(|| header.clone())).collect();
            if !ended.is_empty() {
                self.store_traces(ended).await?;
            }
        }
        Ok(())
    }

    async fn abandoned_traces(&self, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
        leases::abandoned(&self.server, limit).await
    }
}
