//! Measures every call of a backend: how often, how long, with which errors.
//!
//! The built-in backends are measured from the start: [`MemoryStorage`](crate::storage::MemoryStorage) and the others *are*
//! this layer around a backend of their own. For one of your own:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), reflow_tracing::storage::StorageError> {
//! # let my_backend = reflow_tracing::storage::MemoryStorage::new();
//! use reflow_tracing::storage::StorageBackend;
//! use reflow_tracing::storage::layers::metrics::Metered;
//!
//! let storage = Metered::around(my_backend);
//! storage.health_check().await?;
//! println!("{} ms a write", storage.get_metrics().await?.avg_write_latency_ms);
//! # Ok(())
//! # }
//! ```
//!
//! It goes next to the backend, inside of every other layer: what it tells is what the backend did, each attempt of a
//! retried call by itself. A call that its caller gives up on, at a time limit for example, is counted as `abandoned`.
//!
//! Each method has a histogram of its own (HDR, to two digits, made at its first call). A call costs two readings of the
//! clock and an uncontended lock.

mod call;
mod durations;
mod recorder;
mod report;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use crate::storage::{StorageBackend, StorageError, StorageStats, TracePart};
use call::Call;
pub use durations::LatencyBucket;
#[cfg(feature = "plugins")]
pub(crate) use durations::{Durations, buckets, histogram};
use recorder::Recorder;
pub use report::{CallMetrics, StorageMetrics};

/// How long [`get_metrics`](StorageBackend::get_metrics) waits for the size of the store, which is the one figure that
/// the backend is asked for.
const SIZE_PATIENCE: Duration = Duration::from_secs(1);

/// The layer. See the [module](self).
pub struct Metered<B> {
    inner: B,
    recorder: Recorder,
}

impl<B> Metered<B> {
    /// Measures `inner` from now on.
    pub fn around(inner: B) -> Self {
        Self { inner, recorder: Recorder::default() }
    }

    /// The backend that is measured.
    pub(crate) fn inner(&self) -> &B {
        &self.inner
    }

    async fn measure<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        let timed = self.recorder.begin(call);
        let result = work.await;
        timed.end(result.as_ref().err());
        result
    }

    /// Measures a call that stores so many traces and events.
    async fn measure_write(
        &self,
        call: Call,
        (traces, events): (usize, usize),
        work: impl Future<Output = Result<(), StorageError>> + Send,
    ) -> Result<(), StorageError> {
        self.measure(call, work).await?;
        self.recorder.stored(traces, events);
        Ok(())
    }

    /// Measures to the first item: how fast the others follow is a matter of who reads them.
    fn measure_stream<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        stream: BoxStream<'a, Result<T, StorageError>>,
    ) -> BoxStream<'a, Result<T, StorageError>> {
        let recorder = &self.recorder;
        // It may have ended with the first.
        let mut items = stream.fuse();
        let measured = async move {
            let timed = recorder.begin(call);
            let first = items.next().await;
            timed.end(first.as_ref().and_then(|first| first.as_ref().err()));
            let rest = items.inspect(move |item| {
                if let Err(error) = item {
                    recorder.failed(call, error);
                }
            });
            stream::iter(first).chain(rest)
        };
        stream::once(measured).flatten().boxed()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: StorageBackend> StorageBackend for Metered<B> {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        let size = (1, trace.events.len());
        self.measure_write(Call::StoreTrace, size, self.inner.store_trace(trace)).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.measure(Call::GetTrace, self.inner.get_trace(trace_id)).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.measure(Call::QueryTraces, self.inner.query_traces(query)).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.measure_write(Call::StoreEvent, (0, 1), self.inner.store_event(trace_id, event)).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.measure(Call::GetEvents, self.inner.get_events(trace_id)).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.measure(Call::HealthCheck, self.inner.health_check()).await
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        let size = (traces.len(), traces.iter().map(|trace| trace.events.len()).sum());
        self.measure_write(Call::StoreTraces, size, self.inner.store_traces(traces)).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        let size = (0, events.len());
        self.measure_write(Call::StoreEvents, size, self.inner.store_events(events)).await
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.measure(Call::QueryPage, self.inner.query_page(query)).await
    }

    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.measure(Call::QueryHeaders, self.inner.query_headers(query)).await
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        self.measure_stream(Call::StreamTraces, self.inner.stream_traces(query))
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.measure(Call::HeaderlessTraces, self.inner.headerless_traces(after, limit)).await
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        self.measure(Call::CountTraces, self.inner.count_traces(query)).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        self.measure(Call::GetHeaders, self.inner.get_headers(trace_ids)).await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        self.measure_stream(Call::StreamEvents, self.inner.stream_events(trace_id))
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        self.measure(Call::DeleteTrace, self.inner.delete_trace(trace_id)).await
    }

    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        self.measure(Call::DeleteTraces, self.inner.delete_traces(trace_ids)).await
    }

    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        self.measure(Call::DeleteBefore, self.inner.delete_before(time)).await
    }

    async fn drop_oldest_part(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        self.measure(Call::DropOldestPart, self.inner.drop_oldest_part(ended_by)).await
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        self.inner.retention_horizon()
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        self.measure(Call::FlowVersions, self.inner.flow_versions(flow_id)).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.measure(Call::Stats, self.inner.stats()).await
    }

    /// Tells latencies also while the backend can't tell its size.
    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        let own = tokio::time::timeout(SIZE_PATIENCE, self.inner.get_metrics()).await;
        Ok(self.recorder.report(own.ok().and_then(Result::ok).and_then(|own| own.storage_bytes)))
    }

    async fn flush(&self) -> Result<(), StorageError> {
        self.measure(Call::Flush, self.inner.flush()).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[tokio::test]
    async fn calls_are_counted_by_purpose_method_and_outcome() {
        let storage = MemoryStorage::new();
        let trace = FlowTrace { events: vec![TraceEvent::default()], ..FlowTrace::default() };
        let trace_id = trace.trace_id;
        storage.store_traces(vec![trace.clone(), FlowTrace::default()]).await.unwrap();
        storage.store_event(trace_id, TraceEvent::default()).await.unwrap();
        let too_long = TraceEvent { actor_id: "x".repeat(crate::MAX_NAME_BYTES + 1), ..TraceEvent::default() };
        storage.store_event(trace_id, too_long).await.unwrap_err();
        storage.get_trace(trace_id).await.unwrap();
        assert_eq!(storage.stream_events(trace_id).count().await, 2);
        storage.query_traces(TraceQuery::default()).await.unwrap();
        storage.delete_trace(trace_id).await.unwrap();

        let metrics = storage.get_metrics().await.unwrap();
        let counts = [&metrics.writes, &metrics.reads, &metrics.queries, &metrics.deletes].map(|calls| calls.calls);
        assert_eq!(counts, [3, 2, 1, 1]);
        assert_eq!((metrics.traces_stored, metrics.events_stored), (2, 2));
        assert_eq!((metrics.writes.errors, metrics.reads.errors), (1, 0));
        assert_eq!(metrics.calls["store_event"].errors_by_kind, [("invalid_argument".to_owned(), 1)].into());
        let names: Vec<_> = metrics.calls.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["delete_trace", "get_trace", "query_traces", "store_event", "store_traces", "stream_events"]
        );
        for latency in [metrics.avg_write_latency_ms, metrics.avg_read_latency_ms, metrics.avg_query_latency_ms] {
            assert!(latency > 0.0, "{metrics:?}");
        }
        assert!(metrics.storage_size_mb > 0.0, "{metrics:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_given_up_on_is_counted() {
        let storage = Metered::around(crate::ingest::gated::Gated::new(0));
        let call = storage.store_events(vec![(TraceId::new(), TraceEvent::default())]);
        tokio::time::timeout(Duration::from_secs(1), call).await.unwrap_err();
        let metrics = storage.get_metrics().await.unwrap();
        assert_eq!(metrics.calls["store_events"].errors_by_kind, [("abandoned".to_owned(), 1)].into());
        assert_eq!(metrics.events_stored, 0);
    }

    #[test]
    fn a_size_that_is_not_known_is_no_number_and_in_json_nothing() {
        let metrics = StorageMetrics::unmeasured(None);
        assert!(metrics.storage_size_mb.is_nan());
        let json = serde_json::to_value(&metrics).unwrap();
        assert_eq!(json["storage_size_mb"], serde_json::Value::Null);
        let back: StorageMetrics = serde_json::from_value(json).unwrap();
        assert!(back.storage_size_mb.is_nan());
    }
}
