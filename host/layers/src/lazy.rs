//! Opens a backend at the first call that succeeds in opening it, for a host that has a `spool` and starts while its database
//! is unavailable.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt};
use reflow_tracing_storage::layer::{Operation, StreamOperation};
use reflow_tracing_storage::{Layer, StorageBackend, StorageError, StorageExtras, StorageMetrics};
use tokio::sync::OnceCell;

/// The layer. See the [module](self).
pub struct Lazy<B> {
    open: Box<dyn Fn() -> Opening<B> + Send + Sync>,
    opened: OnceCell<B>,
}

/// A backend that is being opened.
pub type Opening<B> = BoxFuture<'static, Result<B, StorageError>>;

impl<B: StorageBackend> Lazy<B> {
    /// A backend that `open` opens. While opening fails, each call tries again and returns its error.
    pub fn new(open: impl Fn() -> Opening<B> + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), opened: OnceCell::new() }
    }

    async fn backend(&self) -> Result<&B, StorageError> {
        self.opened.get_or_try_init(&self.open).await
    }
}

impl<B: StorageBackend> Layer for Lazy<B> {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        operation.run(self.backend().await?).await
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        self.backend().map_ok(|backend| operation.run(backend)).try_flatten_stream().boxed()
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        self.opened.get()?.extras()
    }

    /// Opens nothing.
    async fn metrics(&self) -> Result<StorageMetrics, StorageError> {
        match self.opened.get() {
            Some(backend) => backend.get_metrics().await,
            None => Ok(StorageMetrics::unmeasured(None)),
        }
    }

    /// Opens nothing.
    async fn shut_down(&self) -> Result<(), StorageError> {
        match self.opened.get() {
            Some(backend) => backend.close().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use futures::TryStreamExt;
    use reflow_tracing_memory::MemoryStorage;
    use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
    use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};

    use super::{Lazy, Opening};

    /// A memory store that opens at the second attempt, and the number of attempts.
    fn lazy() -> (Lazy<MemoryStorage>, Arc<AtomicU32>) {
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = attempts.clone();
        let open = move || -> Opening<MemoryStorage> {
            let first = counted.fetch_add(1, Relaxed) == 0;
            let away = || StorageError::Unavailable("switched off".into());
            Box::pin(async move { if first { Err(away()) } else { Ok(MemoryStorage::new()) } })
        };
        (Lazy::new(open), attempts)
    }

    #[tokio::test]
    async fn the_first_call_that_reaches_the_backend_opens_it_once() {
        let (storage, attempts) = lazy();
        let trace = FlowTrace { events: vec![TraceEvent::default()], ..FlowTrace::default() };
        let error = storage.store_trace(trace.clone()).await.unwrap_err();
        assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
        storage.store_trace(trace.clone()).await.unwrap();
        assert_eq!(storage.get_trace(trace.trace_id).await.unwrap(), Some(trace));
        assert_eq!(attempts.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn streams_and_optional_capabilities_open_it_too() {
        let (storage, _) = lazy();
        let first = storage.stream_events(TraceId::new()).try_collect::<Vec<_>>().await;
        assert!(matches!(first, Err(StorageError::Unavailable(_))), "{first:?}");
        assert_eq!(storage.stream_events(TraceId::new()).try_collect::<Vec<_>>().await.unwrap(), []);
        let (storage, _) = lazy();
        storage.headerless_traces(None, 1).await.unwrap_err();
        assert_eq!(storage.headerless_traces(None, 1).await.unwrap(), []);
    }

    #[tokio::test]
    async fn closing_and_metrics_open_nothing() {
        let (storage, attempts) = lazy();
        assert!(storage.get_metrics().await.unwrap().storage_bytes.is_none());
        assert!(storage.warnings().is_empty());
        storage.close().await.unwrap();
        assert_eq!(attempts.load(Relaxed), 0);
    }
}
