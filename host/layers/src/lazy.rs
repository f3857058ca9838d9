//! A backend that is not there yet: it is opened by the first call that finds it there.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tokio::sync::OnceCell;

use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::{StorageBackend, StorageError, StorageMetrics, StorageStats, TracePart};

type Opening = BoxFuture<'static, Result<Arc<dyn StorageBackend>, StorageError>>;

/// The layer: for a host that has a [spool](super::spool) and starts while its database is away.
pub(crate) struct Late {
    open: Box<dyn Fn() -> Opening + Send + Sync>,
    opened: OnceCell<Arc<dyn StorageBackend>>,
}

impl Late {
    /// A backend that `open` opens.
    pub(crate) fn new(open: impl Fn() -> Opening + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), opened: OnceCell::new() }
    }

    async fn backend(&self) -> Result<&Arc<dyn StorageBackend>, StorageError> {
        self.opened.get_or_try_init(&self.open).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl StorageBackend for Late {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.backend().await?.store_trace(trace).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.backend().await?.get_trace(trace_id).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.backend().await?.query_traces(query).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.backend().await?.store_event(trace_id, event).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.backend().await?.get_events(trace_id).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.backend().await?.health_check().await
    }

    fn warnings(&self) -> Vec<String> {
        self.opened.get().map_or_else(Vec::new, |backend| backend.warnings())
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.backend().await?.store_traces(traces).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        self.backend().await?.store_events(events).await
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.backend().await?.query_page(query).await
    }

    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.backend().await?.query_headers(query).await
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        let begun = async move {
            match self.backend().await {
                Ok(backend) => backend.stream_traces(query),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(begun).flatten().boxed()
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.backend().await?.headerless_traces(after, limit).await
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        self.backend().await?.count_traces(query).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        self.backend().await?.get_headers(trace_ids).await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        let begun = async move {
            match self.backend().await {
                Ok(backend) => backend.stream_events(trace_id),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(begun).flatten().boxed()
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        self.backend().await?.delete_trace(trace_id).await
    }

    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        self.backend().await?.delete_traces(trace_ids).await
    }

    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        self.backend().await?.delete_before(time).await
    }

    async fn drop_oldest_part(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        self.backend().await?.drop_oldest_part(ended_by).await
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        self.opened.get()?.retention_horizon()
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        self.backend().await?.flow_versions(flow_id).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.backend().await?.stats().await
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        match self.opened.get() {
            Some(backend) => backend.get_metrics().await,
            None => Ok(StorageMetrics::unmeasured(None)),
        }
    }

    async fn flush(&self) -> Result<(), StorageError> {
        self.backend().await?.flush().await
    }

    async fn close(&self) -> Result<(), StorageError> {
        match self.opened.get() {
            Some(backend) => backend.close().await,
            None => Ok(()),
        }
    }
}
