//! Measures every call to a backend: the number of calls, their latency and their errors.
//!
//! The built-in backends are measured already: `MemoryStorage` and the others wrap their backend in this layer. For a custom
//! backend:
//!
//! ```
//! # async fn example(my_backend: impl reflow_tracing_storage::StorageBackend) -> Result<(), reflow_tracing_storage::StorageError> {
//! use reflow_tracing_storage::StorageBackend;
//! use reflow_tracing_storage::metrics::Metered;
//!
//! let storage = Metered::around(my_backend);
//! storage.health_check().await?;
//! println!("{} ms a write", storage.get_metrics().await?.avg_write_latency_ms);
//! # Ok(())
//! # }
//! ```
//!
//! It is the innermost layer, so it reports what the backend did, and each attempt of a retried call counts. A call that its
//! caller cancels, for example at a time limit, counts as `abandoned`.
//!
//! Each method has its own histogram (HDR, two significant digits, allocated at the first call). A call costs two clock
//! readings and an uncontended lock.

mod durations;
mod recorder;
mod report;

use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::layer::{Call, Layer, Operation, StreamOperation};
use crate::{StorageBackend, StorageError, StorageExtras};
pub use durations::{Durations, LatencyBucket, buckets, histogram};
use recorder::Recorder;
pub use report::{AlsoMetrics, CallMetrics, SpoolMetrics, StorageMetrics};

/// How long [`get_metrics`](StorageBackend::get_metrics) waits for the size of the store, the only value that comes from the
/// backend.
const SIZE_TIMEOUT: Duration = Duration::from_secs(1);

/// The layer. See the [module](self).
pub struct Metered<B> {
    inner: B,
    recorder: Recorder,
}

impl<B> Metered<B> {
    /// Measures the calls to `inner`.
    pub fn around(inner: B) -> Self {
        Self { inner, recorder: Recorder::default() }
    }

    /// The backend inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Times the first item only: the speed of the others depends on the reader.
    fn measure_stream<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        stream: BoxStream<'a, Result<T, StorageError>>,
    ) -> BoxStream<'a, Result<T, StorageError>> {
        let recorder = &self.recorder;
        // The stream may have ended with the first item.
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

impl<B: StorageBackend> Layer for Metered<B> {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        if O::CALL == Call::Close {
            return operation.run(&self.inner).await;
        }
        let (traces, events) = operation.stores();
        let timed = self.recorder.begin(O::CALL);
        let result = operation.run(&self.inner).await;
        timed.end(result.as_ref().err());
        if result.is_ok() {
            self.recorder.stored(traces, events);
        }
        result
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        self.measure_stream(O::CALL, operation.run(&self.inner))
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        self.inner.extras()
    }

    /// Reports latencies even if the backend can't report its size.
    async fn metrics(&self) -> Result<StorageMetrics, StorageError> {
        let own = tokio::time::timeout(SIZE_TIMEOUT, self.inner.get_metrics()).await;
        Ok(self.recorder.report(own.ok().and_then(Result::ok).and_then(|own| own.storage_bytes)))
    }
}

/// Makes a tuple struct around a [`Metered`] backend a [`StorageBackend`] itself, so that its methods can be documented and its
/// backend stays private: `metered!(MyStorage);` for `pub struct MyStorage(Metered<MyBackend>);`.
#[macro_export]
macro_rules! metered {
    ($storage:ty) => {
        impl $crate::layer::Layer for $storage {
            async fn call<O: $crate::layer::Operation>(&self, operation: O) -> Result<O::Output, $crate::StorageError> {
                operation.run(&self.0).await
            }

            fn stream<O: $crate::layer::StreamOperation>(
                &self,
                operation: O,
            ) -> $crate::BoxStream<'_, Result<O::Item, $crate::StorageError>> {
                operation.run(&self.0)
            }

            fn extras(&self) -> Option<&dyn $crate::StorageExtras> {
                $crate::StorageBackend::extras(&self.0)
            }
        }
    };
}
