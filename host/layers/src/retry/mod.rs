//! Tries calls again that failed for a reason that may pass ([`StorageError::is_retryable`]): a database that restarts, a
//! connection that broke.
//!
//! Only calls that may be repeated without a difference are: reads, and writes, which are idempotent. Not deletions, which
//! tell how many there were, and not health checks, which are to tell how things stand.
//!
//! The pause before an attempt doubles from one to the next and is jittered, so that those who failed together don't come
//! back together. A budget bounds the retries of all calls.
//!
//! It goes around the [time limit](super::timeout), which bounds each attempt. A `spool` takes its place: that knows better what
//! to do while a backend is away. A write is copied so that it can be repeated, which is some percent of what storing it takes;
//! so local backends, which are never away, are better off without.

mod budget;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::{StorageBackend, StorageError, StorageMetrics, StorageStats, TracePart};
use budget::Budget;

/// What is tried again, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryConfig {
    /// Attempts after the first.
    pub retries: u32,
    /// The pause before the second attempt; each further one is twice as long. Up to as much again is added at random.
    pub first_pause: Duration,
    /// No pause is longer, what is added aside.
    pub longest_pause: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { retries: 3, first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(2) }
    }
}

/// The layer. See the [module](self).
pub struct Retrying<B> {
    inner: B,
    pauses: ExponentialBuilder,
    budget: Budget,
    retries: AtomicU64,
}

impl<B: StorageBackend> Retrying<B> {
    /// Tries calls to `inner` again as `config` says.
    pub fn around(inner: B, config: &RetryConfig) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(config.first_pause)
            .with_max_delay(config.longest_pause)
            .with_max_times(config.retries as usize)
            .with_jitter();
        Self { inner, pauses, budget: Budget::default(), retries: AtomicU64::new(0) }
    }

    /// Waits before another attempt; `false` when there is to be none.
    async fn pauses(&self, error: &StorageError, pauses: &mut impl Iterator<Item = Duration>) -> bool {
        if !error.is_retryable() || !self.budget.failed() {
            return false;
        }
        let Some(pause) = pauses.next() else { return false };
        self.retries.fetch_add(1, Relaxed);
        tokio::time::sleep(pause).await;
        true
    }

    async fn retried<T, F>(&self, call: impl Fn() -> F + Send + Sync) -> Result<T, StorageError>
    where
        T: Send,
        F: Future<Output = Result<T, StorageError>> + Send,
    {
        let mut pauses = self.pauses.build();
        loop {
            match call().await {
                Ok(answer) => {
                    self.budget.succeeded();
                    return Ok(answer);
                }
                Err(error) => {
                    if !self.pauses(&error, &mut pauses).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// A stream that is begun again as long as it has given nothing.
    fn retried_stream<'a, T: Send + 'a>(
        &'a self,
        begin: impl Fn() -> BoxStream<'a, Result<T, StorageError>> + Send + 'a,
    ) -> BoxStream<'a, Result<T, StorageError>> {
        let begun = async move {
            let mut pauses = self.pauses.build();
            loop {
                // It may have ended with the first.
                let mut items = begin().fuse();
                let first = items.next().await;
                match &first {
                    Some(Err(error)) if self.pauses(error, &mut pauses).await => {}
                    _ => return stream::iter(first).chain(items),
                }
            }
        };
        stream::once(begun).flatten().boxed()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: StorageBackend> StorageBackend for Retrying<B> {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.retried(|| self.inner.store_trace(trace.clone())).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.retried(|| self.inner.get_trace(trace_id)).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.retried(|| self.inner.query_traces(query.clone())).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.retried(|| self.inner.store_event(trace_id, event.clone())).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.retried(|| self.inner.get_events(trace_id)).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.inner.health_check().await
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.retried(|| self.inner.store_traces(traces.clone())).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        self.retried(|| self.inner.store_events(events.clone())).await
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.retried(|| self.inner.query_page(query.clone())).await
    }

    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.retried(|| self.inner.query_headers(query.clone())).await
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        self.retried_stream(move || self.inner.stream_traces(query.clone()))
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.retried(|| self.inner.headerless_traces(after, limit)).await
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        self.retried(|| self.inner.count_traces(query.clone())).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        self.retried(|| self.inner.get_headers(trace_ids.clone())).await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        self.retried_stream(move || self.inner.stream_events(trace_id))
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        self.inner.delete_trace(trace_id).await
    }

    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        self.inner.delete_traces(trace_ids).await
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
        self.retried(|| self.inner.flow_versions(flow_id.clone())).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.retried(|| self.inner.stats()).await
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        let metrics = self.inner.get_metrics().await?;
        Ok(StorageMetrics { retries: metrics.retries + self.retries.load(Relaxed), ..metrics })
    }

    async fn flush(&self) -> Result<(), StorageError> {
        self.retried(|| self.inner.flush()).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use reflow_tracing_memory::MemoryStorage;

    /// Memory that is away for some calls: headers, events and their deletion.
    struct Flaky {
        storage: MemoryStorage,
        failures: AtomicUsize,
        error: fn() -> StorageError,
    }

    impl Flaky {
        fn answer(&self) -> Result<(), StorageError> {
            match self.failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Err((self.error)()),
                Err(_) => Ok(()),
            }
        }
    }

    #[async_trait]
    impl StorageBackend for Flaky {
        async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
            self.answer()?;
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

        async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
            self.answer()?;
            self.storage.get_events(trace_id).await
        }

        async fn health_check(&self) -> Result<(), StorageError> {
            self.answer()
        }

        async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
            self.answer()?;
            self.storage.delete_trace(trace_id).await
        }
    }

    fn flaky(failures: usize, error: fn() -> StorageError) -> Retrying<Flaky> {
        let inner = Flaky { storage: MemoryStorage::new(), failures: AtomicUsize::new(failures), error };
        Retrying::around(inner, &RetryConfig::default())
    }

    fn away() -> StorageError {
        StorageError::Unavailable("asked to be".into())
    }

    async fn retries(storage: &impl StorageBackend) -> u64 {
        storage.get_metrics().await.unwrap().retries
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_with_growing_pauses() {
        let storage = flaky(3, away);
        let begun = tokio::time::Instant::now();
        storage.store_trace(FlowTrace::default()).await.unwrap();
        // 100, 200 and 400 ms, and up to as much again.
        let took = begun.elapsed();
        assert!((Duration::from_millis(700)..Duration::from_millis(1_410)).contains(&took), "{took:?}");
        assert_eq!(retries(&storage).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_with_the_last_error() {
        let storage = flaky(usize::MAX, away);
        let error = storage.store_trace(FlowTrace::default()).await.unwrap_err();
        assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
        assert_eq!(retries(&storage).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_calls_are_no_longer_multiplied() {
        let storage = flaky(usize::MAX, away);
        for _ in 0..100 {
            storage.get_events(TraceId::new()).await.unwrap_err();
        }
        let retries = retries(&storage).await;
        assert!(retries < 10, "{retries} retries of 100 calls");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_retry_can_not_help_is_told_at_once() {
        for error in [|| StorageError::InvalidArgument("x".into()), || StorageError::Exhausted("x".into())] {
            let storage = flaky(1, error);
            storage.store_trace(FlowTrace::default()).await.unwrap_err();
            assert_eq!(retries(&storage).await, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deletions_and_health_checks_are_not_repeated() {
        let storage = flaky(1, away);
        storage.delete_trace(TraceId::new()).await.unwrap_err();
        storage.inner.failures.store(1, Relaxed);
        storage.health_check().await.unwrap_err();
        assert_eq!(retries(&storage).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_begun_again_before_its_first_event() {
        let storage = flaky(2, away);
        let trace_id = TraceId::new();
        storage.store_event(trace_id, TraceEvent::default()).await.unwrap();
        let events: Vec<_> = storage.stream_events(trace_id).collect().await;
        assert!(matches!(&events[..], [Ok(_)]), "{events:?}");
    }
}
