//! Tries calls again that failed with a transient error ([`StorageError::is_retryable`]): a database that restarts, a
//! connection that broke.
//!
//! Only calls that can be repeated without a difference are ([`Operation::REPEATABLE`]): reads, and writes, which are
//! idempotent. Not deletions, which count, and not health checks, which report how things are.
//!
//! The pause before an attempt doubles from one to the next and is jittered, so that those who failed together don't come
//! back together. A budget bounds the retries of all calls.
//!
//! It goes around the [time limit](super::timeout), which bounds each attempt. A `spool` takes its place: that keeps writes while
//! a backend is away. A write is copied so that it can be repeated, which is some percent of what storing it takes; local
//! backends, which are never away, are faster without this layer.

mod budget;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reflow_tracing_storage::layer::{Operation, StreamOperation};
use reflow_tracing_storage::{Layer, StorageBackend, StorageError, StorageExtras, StorageMetrics};

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
}

impl<B: StorageBackend> Layer for Retrying<B> {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        if !O::REPEATABLE {
            return operation.run(&self.inner).await;
        }
        let mut pauses = self.pauses.build();
        loop {
            match operation.clone().run(&self.inner).await {
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

    /// A stream is begun again as long as it has given nothing.
    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        let begun = async move {
            let mut pauses = self.pauses.build();
            loop {
                // It may have ended with the first.
                let mut items = operation.clone().run(&self.inner).fuse();
                let first = items.next().await;
                match &first {
                    Some(Err(error)) if self.pauses(error, &mut pauses).await => {}
                    _ => return stream::iter(first).chain(items),
                }
            }
        };
        stream::once(begun).flatten().boxed()
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        self.inner.extras()
    }

    async fn metrics(&self) -> Result<StorageMetrics, StorageError> {
        let mut metrics = self.inner.get_metrics().await?;
        metrics.retries += self.retries.load(Relaxed);
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use futures::StreamExt;
    use reflow_tracing_conformance::faults::Faulty;
    use reflow_tracing_memory::MemoryStorage;
    use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
    use reflow_tracing_storage::layer::Call;
    use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};

    use super::{RetryConfig, Retrying};

    /// Memory of which so many calls fail first; events are always stored.
    fn flaky(failures: usize, error: fn() -> StorageError) -> Retrying<Faulty<MemoryStorage>> {
        let left = AtomicUsize::new(failures);
        let memory = Faulty::around(MemoryStorage::new()).before(move |attempt| {
            let fails = attempt.call != Call::StoreEvent
                && left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
            ready(if fails { Err(error()) } else { Ok(()) })
        });
        Retrying::around(memory, &RetryConfig::default())
    }

    fn away() -> StorageError {
        StorageError::Unavailable("asked to be".into())
    }

    fn retries(storage: &Retrying<Faulty<MemoryStorage>>) -> u64 {
        storage.retries.load(Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_error_is_retried_with_growing_pauses() {
        let storage = flaky(3, away);
        let begun = tokio::time::Instant::now();
        storage.store_trace(FlowTrace::default()).await.unwrap();
        // 100, 200 and 400 ms, and up to as much again.
        let took = begun.elapsed();
        assert!((Duration::from_millis(700)..Duration::from_millis(1_410)).contains(&took), "{took:?}");
        assert_eq!(storage.get_metrics().await.unwrap().retries, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_with_the_last_error() {
        let storage = flaky(usize::MAX, away);
        let error = storage.store_trace(FlowTrace::default()).await.unwrap_err();
        assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
        assert_eq!(retries(&storage), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_calls_are_no_longer_multiplied() {
        let storage = flaky(usize::MAX, away);
        for _ in 0..100 {
            storage.get_events(TraceId::new()).await.unwrap_err();
        }
        let retries = retries(&storage);
        assert!(retries < 10, "{retries} retries of 100 calls");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_retry_can_not_help_fails_at_once() {
        for error in [|| StorageError::InvalidArgument("x".into()), || StorageError::Exhausted("x".into())] {
            let storage = flaky(1, error);
            storage.store_trace(FlowTrace::default()).await.unwrap_err();
            assert_eq!(retries(&storage), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deletions_and_health_checks_are_not_repeated() {
        let storage = flaky(3, away);
        storage.delete_trace(TraceId::new()).await.unwrap_err();
        storage.drop_oldest_partition(chrono::Utc::now()).await.unwrap_err();
        storage.health_check().await.unwrap_err();
        assert_eq!(retries(&storage), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_begun_again_before_its_first_event() {
        let storage = flaky(2, away);
        let trace_id = TraceId::new();
        storage.store_event(trace_id, TraceEvent::default()).await.unwrap();
        let events: Vec<_> = storage.stream_events(trace_id).collect().await;
        assert!(matches!(&events[..], [Ok(_)]), "{events:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_some_stores_can_do_is_tried_again_too() {
        let storage = flaky(2, away);
        assert_eq!(storage.headerless_traces(None, 1).await.unwrap(), []);
        assert_eq!(retries(&storage), 2);
    }
}
