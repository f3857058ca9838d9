//! Retries calls that failed with a transient error ([`StorageError::is_retryable`]), such as a database restart or a broken
//! connection.
//!
//! It retries only calls that can be repeated ([`Operation::REPEATABLE`]): reads, and writes, which are idempotent. It doesn't
//! retry deletions, which return a count, or health checks, which report the current state.
//!
//! The pause before an attempt doubles each time and is jittered, so that calls that failed together are not retried together.
//! A budget bounds the retries of all calls.
//!
//! This layer goes around the [time limit](super::timeout), which applies to each attempt. A `spool` replaces it, because it
//! keeps writes while a backend is unavailable. Retrying requires a copy of each write, which costs a few percent; local
//! backends, which are always available, are faster without this layer.

mod budget;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reflow_tracing_storage::layer::{Operation, StreamOperation};
use reflow_tracing_storage::{Layer, StorageBackend, StorageError, StorageExtras, StorageMetrics};

use budget::Budget;

/// Settings of retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryConfig {
    /// The number of attempts after the first.
    pub retries: u32,
    /// The pause before the second attempt. It doubles for each further one, plus a random jitter of up to the same length.
    pub first_pause: Duration,
    /// The maximum pause, without jitter.
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
    /// Retries calls to `inner` according to `config`.
    pub fn around(inner: B, config: &RetryConfig) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(config.first_pause)
            .with_max_delay(config.longest_pause)
            .with_max_times(config.retries as usize)
            .with_jitter();
        Self { inner, pauses, budget: Budget::default(), retries: AtomicU64::new(0) }
    }

    /// Waits before another attempt. Returns `false` if there must not be one.
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
        let start = tokio::time::Instant::now();
        storage.store_trace(FlowTrace::default()).await.unwrap();
        // 100, 200 and 400 ms, and up to as much again.
        let took = start.elapsed();
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
    async fn an_outage_stops_retries() {
        let storage = flaky(usize::MAX, away);
        for _ in 0..100 {
            storage.get_events(TraceId::new()).await.unwrap_err();
        }
        let retries = retries(&storage);
        assert!(retries < 10, "{retries} retries of 100 calls");
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_errors_are_not_retried() {
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
    async fn a_stream_is_retried_before_its_first_event() {
        let storage = flaky(2, away);
        let trace_id = TraceId::new();
        storage.store_event(trace_id, TraceEvent::default()).await.unwrap();
        let events: Vec<_> = storage.stream_events(trace_id).collect().await;
        assert!(matches!(&events[..], [Ok(_)]), "{events:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn optional_capabilities_are_retried_too() {
        let storage = flaky(2, away);
        assert_eq!(storage.headerless_traces(None, 1).await.unwrap(), []);
        assert_eq!(retries(&storage), 2);
    }
}
