//! Limits how long a call may take, so that a backend that hangs holds up nobody for ever.
//!
//! A call whose time is up is [`StorageError::Unavailable`]: a later one may do better. What a write was about to store may
//! be stored nevertheless; writes are idempotent, so it may be tried again.
//!
//! It goes around the [metrics](super::metrics), which count what is given up on, and inside of [retries](super::retry) and
//! the `spool`, which take its error for what it is: each attempt has a limit of its own.
//!
//! Not limited is what takes as long as there is much to do and for which nobody waits in a hurry: `delete_before`,
//! `drop_oldest_part`, `flush`, `close`. A stream is limited from one item to the next, as long as its reader waits.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::{StorageBackend, StorageError, StorageMetrics, StorageStats, TracePart};

/// The layer. See the [module](self).
pub struct TimeLimited<B> {
    inner: B,
    limit: Duration,
}

impl<B: StorageBackend> TimeLimited<B> {
    /// Gives each call to `inner` so much time.
    pub fn around(inner: B, limit: Duration) -> Self {
        Self { inner, limit }
    }

    async fn limited<T>(
        &self,
        call: &str,
        work: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        tokio::time::timeout(self.limit, work).await.unwrap_or_else(|_| Err(self.expired(call)))
    }

    fn limited_stream<'a, T: Send + 'a>(
        &'a self,
        call: &'static str,
        stream: BoxStream<'a, Result<T, StorageError>>,
    ) -> BoxStream<'a, Result<T, StorageError>> {
        stream::unfold(Some(stream), async move |stream| {
            let mut stream = stream?;
            match tokio::time::timeout(self.limit, stream.next()).await {
                Ok(item) => item.map(|item| (item, Some(stream))),
                Err(_) => Some((Err(self.expired(call)), None)),
            }
        })
        .boxed()
    }

    fn expired(&self, call: &str) -> StorageError {
        StorageError::Unavailable(format!("{call} took longer than {:?}, the limit of a call", self.limit))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: StorageBackend> StorageBackend for TimeLimited<B> {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.limited("store_trace", self.inner.store_trace(trace)).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.limited("get_trace", self.inner.get_trace(trace_id)).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.limited("query_traces", self.inner.query_traces(query)).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.limited("store_event", self.inner.store_event(trace_id, event)).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.limited("get_events", self.inner.get_events(trace_id)).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.limited("health_check", self.inner.health_check()).await
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.limited("store_traces", self.inner.store_traces(traces)).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        self.limited("store_events", self.inner.store_events(events)).await
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.limited("query_page", self.inner.query_page(query)).await
    }

    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.limited("query_headers", self.inner.query_headers(query)).await
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        self.limited_stream("stream_traces", self.inner.stream_traces(query))
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.limited("headerless_traces", self.inner.headerless_traces(after, limit)).await
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        self.limited("count_traces", self.inner.count_traces(query)).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        self.limited("get_headers", self.inner.get_headers(trace_ids)).await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        self.limited_stream("stream_events", self.inner.stream_events(trace_id))
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        self.limited("delete_trace", self.inner.delete_trace(trace_id)).await
    }

    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        self.limited("delete_traces", self.inner.delete_traces(trace_ids)).await
    }

    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        self.inner.delete_before(time).await
    }

    async fn drop_oldest_part(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        self.inner.drop_oldest_part(ended_by).await
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        self.inner.retention_horizon()
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        self.limited("flow_versions", self.inner.flow_versions(flow_id)).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.limited("stats", self.inner.stats()).await
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        self.inner.get_metrics().await
    }

    async fn flush(&self) -> Result<(), StorageError> {
        self.inner.flush().await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use reflow_tracing_memory::MemoryStorage;

    /// Memory that never answers a query, and a stream that stops in its middle.
    struct Hanging(MemoryStorage);

    #[async_trait]
    impl StorageBackend for Hanging {
        async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
            self.0.store_trace(trace).await
        }

        async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
            self.0.get_trace(trace_id).await
        }

        async fn query_traces(&self, _: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
            pending().await
        }

        async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
            self.0.store_event(trace_id, event).await
        }

        async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
            self.0.get_events(trace_id).await
        }

        async fn health_check(&self) -> Result<(), StorageError> {
            self.0.health_check().await
        }

        fn stream_events(&self, _: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
            stream::iter([Ok(TraceEvent::default())]).chain(stream::pending()).boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_as_unavailable_and_the_others_go_on() {
        let storage = TimeLimited::around(Hanging(MemoryStorage::new()), Duration::from_secs(3));
        let error = storage.query_traces(TraceQuery::default()).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("query_traces took longer than 3s"), "{error}");
        storage.store_trace(FlowTrace::default()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_hangs_gives_what_it_had_and_ends_with_an_error() {
        let storage = TimeLimited::around(Hanging(MemoryStorage::new()), Duration::from_secs(3));
        let events: Vec<_> = storage.stream_events(TraceId::new()).collect().await;
        assert!(matches!(&events[..], [Ok(_), Err(StorageError::Unavailable(_))]), "{events:?}");
    }
}
