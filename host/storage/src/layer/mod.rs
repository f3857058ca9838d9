//! Wrappers around a backend that add one concern. This module forwards the calls of the contract for all layers.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use futures::stream::BoxStream;
//! use reflow_tracing_storage::layer::{Layer, Operation, StreamOperation};
//! use reflow_tracing_storage::{StorageBackend, StorageError, StorageExtras};
//!
//! /// Counts the calls of a backend.
//! struct Counted<B> {
//!     inner: B,
//!     calls: AtomicU64,
//! }
//!
//! impl<B: StorageBackend> Layer for Counted<B> {
//!     async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
//!         self.calls.fetch_add(1, Ordering::Relaxed);
//!         operation.run(&self.inner).await
//!     }
//!
//!     fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
//!         operation.run(&self.inner)
//!     }
//!
//!     fn extras(&self) -> Option<&dyn StorageExtras> {
//!         self.inner.extras()
//!     }
//! }
//! ```

mod call;
mod operation;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use uuid::Uuid;

use super::{
    Deletion, PageRequest, StorageBackend, StorageError, StorageExtras, StorageMetrics, StorageStats, TracePart,
};
pub use call::{Call, Purpose};
pub use operation::*;

/// A wrapper around a backend. It is a [`StorageBackend`] that passes every call to [`call`](Self::call) or
/// [`stream`](Self::stream), which can act before, after or instead of running it on the backend inside.
pub trait Layer: Send + Sync {
    /// Answers a call. Clone the operation to run it more than once.
    fn call<O: Operation>(&self, operation: O) -> impl Future<Output = Result<O::Output, StorageError>> + Send;

    /// Answers a call that returns a stream.
    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>>;

    /// The optional capabilities of the backend inside. Used only for methods that don't wait (warnings, the retention
    /// horizon); the others come as a [`call`](Self::call).
    fn extras(&self) -> Option<&dyn StorageExtras>;

    /// Performance of the store. A layer that has metrics of its own adds them here.
    fn metrics(&self) -> impl Future<Output = Result<StorageMetrics, StorageError>> + Send {
        self.call(GetMetrics())
    }

    /// Closes the store. A layer with background work stops it here.
    fn shut_down(&self) -> impl Future<Output = Result<(), StorageError>> + Send {
        self.call(Close())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<L: Layer> StorageBackend for L {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.call(StoreTrace(trace)).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.call(GetTrace(trace_id)).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.call(QueryTraces(query)).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.call(StoreEvent(trace_id, event)).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.call(GetEvents(trace_id)).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.call(HealthCheck()).await
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.call(StoreTraces(traces)).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        self.call(StoreEvents(events)).await
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        self.call(QueryPage(request)).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        self.call(GetHeaders(trace_ids)).await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        self.stream(StreamEvents(trace_id))
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        self.stream(StreamTraces(query))
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        self.call(Delete(deletion)).await
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        self.call(FlowVersions(flow_id)).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.call(Stats()).await
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        self.metrics().await
    }

    async fn flush(&self) -> Result<(), StorageError> {
        self.call(Flush()).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.shut_down().await
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<L: Layer> StorageExtras for L {
    fn warnings(&self) -> Vec<String> {
        Layer::extras(self).map_or_else(Vec::new, |extras| extras.warnings())
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        Layer::extras(self)?.retention_horizon()
    }

    fn concurrent_writes(&self) -> usize {
        Layer::extras(self).map_or(1, |extras| extras.concurrent_writes())
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.call(HeaderlessTraces(after, limit)).await
    }

    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        self.call(DropOldestPartition(ended_by)).await
    }

    async fn renew_lease(&self, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
        self.call(RenewLease(host, duration)).await
    }

    async fn begin_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.call(BeginTraces(host, headers)).await
    }

    async fn leave_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.call(LeaveTraces(host, headers)).await
    }

    async fn abandoned_traces(&self, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
        self.call(AbandonedTraces(limit)).await
    }
}

/// A shared backend is a backend.
impl<B: StorageBackend + ?Sized> Layer for Arc<B> {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        operation.run(&**self).await
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        operation.run(&**self)
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        (**self).extras()
    }
}
