#![doc = include_str!("../README.md")]
//!
//! # Inside
//! Writes are gathered into batches (`writer.rs`), which are inserted so that a retry changes nothing (`batch.rs`). Nothing is
//! ever changed in place: reads pick the rows that count (`event.rs`, `search.rs`), wherever merges stand. A lookup by trace id
//! leads them to the few rows that they need (`lookup.rs`). The layout is in `sql/1_tables.sql`.

mod batch;
mod config;
mod connection;
mod delete;
mod event;
mod header;
mod literal;
mod lookup;
mod metrics;
mod repeats;
mod schema;
mod search;
mod select;
mod stream;
mod tables;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::metered;
use reflow_tracing_storage::metrics::Metered;
use reflow_tracing_storage::{
    Deletion, PageRequest, StorageBackend, StorageError, StorageExtras, StorageMetrics, StorageStats, TracePart,
};

pub use config::{ClickHouseConfig, CompressionMethod};
use connection::Server;
use event::StoredEvent;
use header::StoredHeader;
use lookup::Spans;
pub use metrics::{EventMetrics, EventMetricsQuery, EventsPerMinute, ExecutionTimeQuantiles};
use writer::Writer;

/// Stores traces in a ClickHouse database.
///
/// The server has stored an acknowledged write. Its `fsync_after_insert` and similar settings determine when it reaches the
/// disk.
pub struct ClickHouseStorage(Metered<ClickHouseBackend>);

/// The backend without its measurements.
struct ClickHouseBackend {
    server: Arc<Server>,
    writer: Writer,
    retention_days: u32,
}

impl ClickHouseStorage {
    /// Opens the database `tracing` of the server at `url` with the default settings. Creates it if it is missing.
    pub async fn new(url: impl Into<String>) -> Result<Self, StorageError> {
        Self::with_config(ClickHouseConfig { url: url.into(), ..ClickHouseConfig::default() }).await
    }

    /// Opens the database that `config` names. Creates it and its tables if they are missing.
    ///
    /// Fails with [`StorageError::Configuration`] if the server rejects the user, or the database belongs to another program or
    /// another version; it is not changed then. Fails with [`StorageError::Unavailable`] if the server can't be reached.
    pub async fn with_config(config: ClickHouseConfig) -> Result<Self, StorageError> {
        if let Some(problem) = config.problem() {
            return Err(StorageError::Configuration(format!("in the settings of ClickHouse: {problem}")));
        }
        let server = Arc::new(Server::new(&config));
        schema::prepare(&server, &config).await?;
        let writer = Writer::start(server.clone(), &config);
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

impl ClickHouseBackend {
    /// The spans of a trace; `None` if nothing of it is stored.
    async fn spans_of(&self, trace_id: TraceId) -> Result<Option<Spans>, StorageError> {
        Ok(lookup::spans(&self.server, [trace_id]).await?.remove(&trace_id))
    }

    async fn header(&self, trace_id: TraceId, spans: Spans) -> Result<Option<FlowTrace>, StorageError> {
        if spans.starts.is_empty() {
            return Ok(None);
        }
        let sql = format!(
            "SELECT {} FROM {} WHERE {} AND trace_id = {} ORDER BY stored_at DESC LIMIT 1",
            header::COLUMNS,
            self.server.tables.traces,
            spans.starts.contains("start_time"),
            literal::id(trace_id.0)
        );
        self.server.rows::<StoredHeader>(&sql).await?.pop().map(StoredHeader::header).transpose()
    }

    async fn events(&self, trace_id: TraceId, spans: Spans) -> Result<Vec<TraceEvent>, StorageError> {
        if spans.events.is_empty() {
            return Ok(Vec::new());
        }
        let sql = select_events(&self.server, spans, &format!("trace_id = {}", literal::id(trace_id.0)));
        event::in_order(self.server.rows(&sql).await?)
    }

    /// The size of the rows on the disks of the servers. Deleted rows stay until the server merges them; the estimate assumes
    /// that they have the average size of their table.
    async fn bytes(&self) -> Result<u64, StorageError> {
        let tables = &self.server.tables;
        let sql = format!(
            "SELECT table, sum(rows), sum(bytes_on_disk) FROM {} WHERE active AND database = {} GROUP BY table",
            tables.system("parts"),
            literal::text(&tables.database_name)
        );
        let mut bytes = 0.0;
        for (table, rows, on_disk) in self.server.rows::<(String, u64, u64)>(&sql).await? {
            let left = match table.trim_end_matches("_local") {
                "events" => Some(&tables.events),
                "traces" => Some(&tables.traces),
                _ => None,
            };
            let share = match left {
                Some(table) if rows > 0 => {
                    let left: u64 = self.server.row(&format!("SELECT count() FROM {table}")).await?;
                    (left as f64 / rows as f64).min(1.0)
                }
                _ => 1.0,
            };
            bytes += on_disk as f64 * share;
        }
        Ok(bytes as u64)
    }
}

fn select_events(server: &Server, spans: Spans, which: &str) -> String {
    format!(
        "SELECT {} FROM {} WHERE {which} AND {}",
        event::COLUMNS,
        server.tables.events,
        spans.events.contains("timestamp")
    )
}

/// The events of several traces.
async fn events_of(
    server: &Server,
    traces: &HashMap<TraceId, Spans>,
) -> Result<HashMap<TraceId, Vec<TraceEvent>>, StorageError> {
    let with_events = || traces.iter().filter(|(_, spans)| !spans.events.is_empty());
    let span = Spans::of(with_events().map(|(_, spans)| spans));
    if span.events.is_empty() {
        return Ok(HashMap::new());
    }
    let which = format!("trace_id IN {}", literal::ids(with_events().map(|(trace_id, _)| *trace_id)));
    let mut rows: HashMap<TraceId, Vec<StoredEvent>> = HashMap::new();
    for row in server.rows::<StoredEvent>(&select_events(server, span, &which)).await? {
        rows.entry(row.trace_id()).or_default().push(row);
    }
    rows.into_iter().map(|(trace_id, rows)| Ok((trace_id, event::in_order(rows)?))).collect()
}

#[async_trait]
impl StorageBackend for ClickHouseBackend {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.store_traces(vec![trace]).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let Some(spans) = self.spans_of(trace_id).await? else { return Ok(None) };
        let (header, events) = tokio::try_join!(self.header(trace_id, spans), self.events(trace_id, spans))?;
        Ok(header.map(|header| FlowTrace { events, ..header }))
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        match self.spans_of(trace_id).await? {
            Some(spans) => self.events(trace_id, spans).await,
            None => Ok(Vec::new()),
        }
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        // An insert of no rows needs everything that a write needs, and stores nothing.
        for table in [&self.server.tables.events, &self.server.tables.traces] {
            let sql = format!("INSERT INTO {table} (trace_id) SELECT generateUUIDv4() FROM numbers(0)");
            self.server.execute(&sql).await?;
        }
        self.writer.check()
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        let mut events = Vec::new();
        let mut headers = traces;
        for header in &mut headers {
            let trace_id = header.trace_id;
            events.extend(std::mem::take(&mut header.events).into_iter().map(|event| (trace_id, event)));
        }
        self.writer.write(headers, events).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        self.writer.write(Vec::new(), events).await
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        search::page(&self.server, request).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        /// Ids per statement.
        const AT_ONCE: usize = 10_000;
        let mut headers = HashMap::new();
        for ids in trace_ids.chunks(AT_ONCE) {
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
            bytes: Some(self.bytes().await?),
            oldest: time(oldest),
            newest: time(newest),
        })
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        Ok(StorageMetrics::unmeasured(Some(self.bytes().await?)))
    }

    async fn flush(&self) -> Result<(), StorageError> {
        self.writer.flush().await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.writer.flush().await?;
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
        self.writer.warnings().collect()
    }

    fn concurrent_writes(&self) -> usize {
        self.writer.at_once()
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        (self.retention_days > 0).then(|| Utc::now() - TimeDelta::days(self.retention_days.into()))
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        lookup::headerless(&self.server, after, limit).await
    }
}
