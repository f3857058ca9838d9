//! From store to store, to a file and back.

mod backup;
mod copying;
mod interrupted;

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use reflow_tracing::storage::extras::StorageExtras;
use reflow_tracing::storage::{
    MemoryConfig, MemoryStorage, StorageBackend, StorageBackendExt, StorageError, TracePart,
};
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, FlowVersion, SortOrder, TraceEvent, TraceId, TraceQuery};

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000, 0).unwrap()
}

/// A trace that began so many seconds after a moment; some begin at the same time.
fn trace(number: usize) -> FlowTrace {
    let start_time = start() + TimeDelta::seconds(number as i64 / 2);
    let events = (0..number % 7).map(|each| TraceEvent {
        timestamp: start_time + TimeDelta::milliseconds(each as i64),
        actor_id: format!("actor {number}"),
        ..TraceEvent::default()
    });
    FlowTrace {
        events: events.collect(),
        start_time,
        end_time: Some(start_time + TimeDelta::seconds(1)),
        status: ExecutionStatus::Completed,
        ..FlowTrace::new(FlowId::new(format!("flow {}", number % 3)), FlowVersion::default())
    }
}

/// Memory without bounds that matter.
fn memory() -> MemoryStorage {
    MemoryStorage::with_config(MemoryConfig { max_traces: 1_000_000, max_memory_mb: 4_096, ..MemoryConfig::default() })
}

/// A store with so many traces, and three without a header.
async fn filled(traces: usize) -> MemoryStorage {
    let storage = memory();
    storage.store_traces((0..traces).map(trace).collect()).await.unwrap();
    for _ in 0..3 {
        let trace_id = TraceId::new();
        let events = (0..5).map(|_| (trace_id, TraceEvent::default()));
        storage.store_events(events.collect()).await.unwrap();
    }
    storage
}

/// All that a store holds, read in the plainest way: the traces, and the events of those without a header.
async fn everything(storage: &dyn StorageBackend) -> (Vec<FlowTrace>, Vec<(TraceId, Vec<TraceEvent>)>) {
    let mut query = TraceQuery { limit: Some(1_000), order: SortOrder::OldestFirst, ..TraceQuery::default() };
    let mut traces = Vec::new();
    loop {
        let page = storage.query_page(query.clone().into()).await.unwrap();
        traces.extend(page.traces);
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => break,
        }
    }
    let mut headerless = Vec::new();
    for trace_id in storage.headerless_traces(None, usize::MAX).await.unwrap() {
        headerless.push((trace_id, storage.get_events(trace_id).await.unwrap()));
    }
    (traces, headerless)
}

/// Memory whose reads or writes fail after some, and that can't list what has no header unless it is told to.
struct Failing {
    storage: MemoryStorage,
    parts_left: AtomicUsize,
    writes_left: AtomicUsize,
    lists_headerless: bool,
    horizon: Option<DateTime<Utc>>,
}

impl Failing {
    fn new(storage: MemoryStorage) -> Self {
        let unbounded = || AtomicUsize::new(usize::MAX);
        Self { storage, parts_left: unbounded(), writes_left: unbounded(), lists_headerless: true, horizon: None }
    }

    fn write(&self) -> Result<(), StorageError> {
        one_less(&self.writes_left)
    }
}

fn one_less(left: &AtomicUsize) -> Result<(), StorageError> {
    let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    taken.map(|_| ()).map_err(|_| StorageError::Unavailable("asked to be".into()))
}

#[async_trait]
impl StorageBackend for Failing {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.write()?;
        self.storage.store_trace(trace).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.storage.get_trace(trace_id).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.storage.query_traces(query).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.storage.store_event(trace_id, event).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        self.write()?;
        self.storage.store_events(events).await
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.write()?;
        self.storage.store_traces(traces).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.storage.get_events(trace_id).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        use futures::StreamExt;
        let parts = self.storage.stream_traces(query);
        parts.map(|part| one_less(&self.parts_left).and(part)).boxed()
    }

    async fn stats(&self) -> Result<reflow_tracing::storage::StorageStats, StorageError> {
        self.storage.stats().await
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[async_trait]
impl StorageExtras for Failing {
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        match self.lists_headerless {
            true => StorageBackendExt::headerless_traces(&self.storage, after, limit).await,
            false => Err(StorageError::Unsupported("asked not to".into())),
        }
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        self.horizon
    }
}
