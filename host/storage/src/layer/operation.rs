//! Calls of the contract as values, which a [`Layer`](super::Layer) can inspect, clone and run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use uuid::Uuid;

use super::call::Call;
use crate::{
    Deletion, PageRequest, StorageBackend, StorageBackendExt, StorageError, StorageMetrics, StorageStats, TracePart,
};

/// A call that returns one result.
pub trait Operation: Clone + Send + Sync + 'static {
    /// The result.
    type Output: Send + 'static;
    /// The method.
    const CALL: Call;
    /// Whether the call can be retried after a failure: true for reads and for writes, which are idempotent. False for
    /// deletions, which return a count, and for health checks, which report the current state.
    const REPEATABLE: bool;

    /// Calls the method of `backend`.
    fn run<B>(self, backend: &B) -> impl Future<Output = Result<Self::Output, StorageError>> + Send
    where
        B: StorageBackend + ?Sized;

    /// The number of traces and events that it stores.
    fn stores(&self) -> (usize, usize) {
        (0, 0)
    }

    /// Whether its duration depends on the amount of data, so that no time limit fits all stores.
    fn is_bulk(&self) -> bool {
        false
    }
}

/// A call that returns a stream.
pub trait StreamOperation: Clone + Send + Sync + 'static {
    /// An item of the stream.
    type Item: Send + 'static;
    /// The method.
    const CALL: Call;

    /// Calls the method of `backend`.
    fn run<'a, B>(self, backend: &'a B) -> BoxStream<'a, Result<Self::Item, StorageError>>
    where
        B: StorageBackend + ?Sized;
}

/// Defines an [`Operation`] for each method.
macro_rules! operations {
    ($($name:ident($($field:tt: $type:ty),*) -> $output:ty = $method:ident, repeatable $repeatable:literal
        $(, stores |$this:ident| $stores:expr)? $(, bulk |$that:ident| $bulk:expr)?;)+) => {$(
        #[doc = concat!("The call of `", stringify!($method), "`.")]
        #[derive(Debug, Clone)]
        pub struct $name($(pub $type),*);

        impl Operation for $name {
            type Output = $output;
            const CALL: Call = Call::$name;
            const REPEATABLE: bool = $repeatable;

            async fn run<B: StorageBackend + ?Sized>(self, backend: &B) -> Result<$output, StorageError> {
                backend.$method($(self.$field),*).await
            }

            $(fn stores(&self) -> (usize, usize) {
                let $this = self;
                $stores
            })?

            $(fn is_bulk(&self) -> bool {
                let $that = self;
                $bulk
            })?
        }
    )+};
}

operations! {
    StoreTrace(0: FlowTrace) -> () = store_trace, repeatable true, stores |this| (1, this.0.events.len());
    StoreTraces(0: Vec<FlowTrace>) -> () = store_traces, repeatable true,
        stores |this| (this.0.len(), this.0.iter().map(|trace| trace.events.len()).sum());
    StoreEvent(0: TraceId, 1: TraceEvent) -> () = store_event, repeatable true, stores |_this| (0, 1);
    StoreEvents(0: Vec<(TraceId, TraceEvent)>) -> () = store_events, repeatable true, stores |this| (0, this.0.len());
    GetTrace(0: TraceId) -> Option<FlowTrace> = get_trace, repeatable true;
    GetEvents(0: TraceId) -> Vec<TraceEvent> = get_events, repeatable true;
    GetHeaders(0: Vec<TraceId>) -> Vec<Option<FlowTrace>> = get_headers, repeatable true;
    QueryTraces(0: TraceQuery) -> Vec<FlowTrace> = query_traces, repeatable true;
    QueryPage(0: PageRequest) -> TracePage = query_page, repeatable true;
    FlowVersions(0: FlowId) -> Vec<FlowVersion> = flow_versions, repeatable true;
    HeaderlessTraces(0: Option<TraceId>, 1: usize) -> Vec<TraceId> = headerless_traces, repeatable true;
    BeginTraces(0: Uuid, 1: Vec<FlowTrace>) -> () = begin_traces, repeatable true, stores |this| (this.1.len(), 0);
    LeaveTraces(0: Uuid, 1: Vec<FlowTrace>) -> () = leave_traces, repeatable true, stores |this| (this.1.len(), 0);
    AbandonedTraces(0: usize) -> Vec<(Uuid, TraceId)> = abandoned_traces, repeatable true;
    Delete(0: Deletion) -> u64 = delete, repeatable false, bulk |this| matches!(this.0, Deletion::StartedBefore(_));
    DropOldestPartition(0: DateTime<Utc>) -> Option<u64> = drop_oldest_partition, repeatable false, bulk |_this| true;
    Stats() -> StorageStats = stats, repeatable true;
    GetMetrics() -> StorageMetrics = get_metrics, repeatable false;
    HealthCheck() -> () = health_check, repeatable false;
    RenewLease(0: Uuid, 1: Duration) -> bool = renew_lease, repeatable false;
    Flush() -> () = flush, repeatable true, bulk |_this| true;
    Close() -> () = close, repeatable false, bulk |_this| true;
}

/// [`stream_events`](StorageBackend::stream_events).
#[derive(Debug, Clone)]
pub struct StreamEvents(pub TraceId);

impl StreamOperation for StreamEvents {
    type Item = TraceEvent;
    const CALL: Call = Call::StreamEvents;

    fn run<'a, B: StorageBackend + ?Sized>(self, backend: &'a B) -> BoxStream<'a, Result<TraceEvent, StorageError>> {
        backend.stream_events(self.0)
    }
}

/// [`stream_traces`](StorageBackend::stream_traces).
#[derive(Debug, Clone)]
pub struct StreamTraces(pub TraceQuery);

impl StreamOperation for StreamTraces {
    type Item = TracePart;
    const CALL: Call = Call::StreamTraces;

    fn run<'a, B: StorageBackend + ?Sized>(self, backend: &'a B) -> BoxStream<'a, Result<TracePart, StorageError>> {
        backend.stream_traces(self.0)
    }
}
