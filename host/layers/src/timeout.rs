//! Limits the duration of calls, so that a backend that hangs doesn't block its callers.
//!
//! A call that exceeds the limit fails with [`StorageError::Unavailable`]. A write that timed out may still be stored; writes
//! are idempotent, so it can be retried.
//!
//! This layer goes around the [metrics](reflow_tracing_storage::metrics), which count cancelled calls, and inside of
//! [retries](super::retry) and the `spool`, so that each attempt has its own limit.
//!
//! Calls whose duration depends on the amount of data are not limited ([`Operation::is_bulk`]): deletion by time, dropping a
//! partition, `flush`, `close`. For a stream, the limit applies to each item while its reader waits.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reflow_tracing_storage::layer::{Call, Operation, StreamOperation};
use reflow_tracing_storage::{Layer, StorageBackend, StorageError, StorageExtras, StorageMetrics};

/// The layer. See the [module](self).
pub struct TimeLimited<B> {
    inner: B,
    limit: Duration,
}

impl<B: StorageBackend> TimeLimited<B> {
    /// Limits each call to `inner`.
    pub fn around(inner: B, limit: Duration) -> Self {
        Self { inner, limit }
    }

    fn expired(&self, call: Call) -> StorageError {
        StorageError::Unavailable(format!("{} took longer than the time limit of {:?}", call.name(), self.limit))
    }
}

impl<B: StorageBackend> Layer for TimeLimited<B> {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        if operation.is_bulk() {
            return operation.run(&self.inner).await;
        }
        let answer = tokio::time::timeout(self.limit, operation.run(&self.inner)).await;
        answer.unwrap_or_else(|_| Err(self.expired(O::CALL)))
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        stream::unfold(Some(operation.run(&self.inner)), async move |items| {
            let mut items = items?;
            match tokio::time::timeout(self.limit, items.next()).await {
                Ok(item) => item.map(|item| (item, Some(items))),
                Err(_) => Some((Err(self.expired(O::CALL)), None)),
            }
        })
        .boxed()
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        self.inner.extras()
    }

    /// Not limited: the metrics layer reports even while the backend hangs.
    async fn metrics(&self) -> Result<StorageMetrics, StorageError> {
        self.inner.get_metrics().await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use chrono::Utc;
    use futures::StreamExt;
    use reflow_tracing_conformance::faults::Faulty;
    use reflow_tracing_memory::MemoryStorage;
    use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId, TraceQuery};
    use reflow_tracing_storage::layer::Call;
    use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};

    use super::TimeLimited;

    const LIMIT: Duration = Duration::from_secs(3);

    /// A memory store that never answers these calls.
    fn hanging(calls: &'static [Call]) -> TimeLimited<Faulty<MemoryStorage>> {
        let memory = Faulty::around(MemoryStorage::new()).before(|attempt| {
            let hangs = calls.contains(&attempt.call);
            async move { if hangs { pending().await } else { Ok(()) } }
        });
        TimeLimited::around(memory, LIMIT)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_as_unavailable_and_the_others_go_on() {
        let storage = hanging(&[Call::QueryTraces, Call::HeaderlessTraces]);
        let error = storage.query_traces(TraceQuery::default()).await.unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("query_traces took longer than the time limit of 3s"),
            "{error}"
        );
        let error = storage.headerless_traces(None, 1).await.unwrap_err();
        assert!(error.to_string().contains("headerless_traces took longer than the time limit of 3s"), "{error}");
        storage.store_trace(FlowTrace::default()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_hangs_returns_its_items_and_ends_with_an_error() {
        let memory = Faulty::around(MemoryStorage::new()).before_item(|attempt| {
            let hangs = attempt.item > 1;
            async move { if hangs { pending().await } else { Ok(()) } }
        });
        let storage = TimeLimited::around(memory, LIMIT);
        let trace_id = TraceId::new();
        storage.store_events(vec![(trace_id, TraceEvent::default()), (trace_id, TraceEvent::default())]).await.unwrap();
        let events: Vec<_> = storage.stream_events(trace_id).collect().await;
        assert!(matches!(&events[..], [Ok(_), Err(StorageError::Unavailable(_))]), "{events:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_calls_are_not_limited() {
        let slow = Faulty::around(MemoryStorage::new()).before(|_| async {
            tokio::time::sleep(2 * LIMIT).await;
            Ok(())
        });
        let storage = TimeLimited::around(slow, LIMIT);
        storage.delete_before(Utc::now()).await.unwrap();
        storage.drop_oldest_partition(Utc::now()).await.unwrap();
        storage.flush().await.unwrap();
        storage.close().await.unwrap();
        storage.delete_trace(TraceId::new()).await.unwrap_err();
    }
}
