//! A backend with faults, for tests of layers and callers: it fails, waits, panics or returns wrong results on request.
//!
//! ```
//! use std::future::ready;
//!
//! use reflow_tracing_conformance::faults::Faulty;
//! use reflow_tracing_memory::MemoryStorage;
//! use reflow_tracing_storage::layer::{Purpose, StoreEvents};
//! use reflow_tracing_storage::{StorageBackend, StorageError};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let storage = Faulty::around(MemoryStorage::new()).before(|attempt| {
//!     let refused = attempt.operation::<StoreEvents>().is_some_and(|StoreEvents(events)| events.len() > 100);
//!     let away = refused || attempt.call.purpose() == Purpose::Query;
//!     ready(if away { Err(StorageError::Unavailable("switched off".into())) } else { Ok(()) })
//! });
//! assert!(storage.query_traces(Default::default()).await.is_err());
//! assert!(storage.store_events(Vec::new()).await.is_ok());
//! # }
//! ```

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt};
use reflow_tracing_storage::layer::{Call, Layer, Operation, StreamOperation};
use reflow_tracing_storage::{StorageBackend, StorageError, StorageExtras};

/// A layer with faults. See the [module](self).
pub struct Faulty<B> {
    inner: B,
    before: Vec<Before>,
    before_item: Vec<Before>,
    after: Vec<After>,
}

type Before = Box<dyn Fn(&Attempt<'_>) -> BoxFuture<'static, Result<(), StorageError>> + Send + Sync>;
type After = Box<dyn Fn(&dyn Any, &mut dyn Any) + Send + Sync>;

/// A call before it reaches the backend, or an item of a stream before it is returned.
pub struct Attempt<'a> {
    /// The method.
    pub call: Call,
    /// The number of the stream's item from 1 on; 0 for the call itself.
    pub item: usize,
    operation: &'a (dyn Any + Send + Sync),
}

impl Attempt<'_> {
    /// The call with its arguments, if it has this type, for example `StoreEvents`.
    pub fn operation<O: 'static>(&self) -> Option<&O> {
        self.operation.downcast_ref()
    }
}

impl<B: StorageBackend> Faulty<B> {
    /// Forwards every call to `inner`; the other methods add faults.
    pub fn around(inner: B) -> Self {
        Self { inner, before: Vec::new(), before_item: Vec::new(), after: Vec::new() }
    }

    /// Waits for `fault` before each call. If it fails, the call returns its error and does not reach the backend.
    #[must_use]
    pub fn before<F>(mut self, fault: impl Fn(&Attempt<'_>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), StorageError>> + Send + 'static,
    {
        self.before.push(Box::new(move |attempt| fault(attempt).boxed()));
        self
    }

    /// Waits for `fault` before each item of a stream. If it fails, its error replaces the item.
    #[must_use]
    pub fn before_item<F>(mut self, fault: impl Fn(&Attempt<'_>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), StorageError>> + Send + 'static,
    {
        self.before_item.push(Box::new(move |attempt| fault(attempt).boxed()));
        self
    }

    /// Changes the results of one method.
    #[must_use]
    pub fn after<O: Operation>(mut self, fault: impl Fn(&O, &mut O::Output) + Send + Sync + 'static) -> Self {
        self.after.push(Box::new(move |operation, answer| {
            if let (Some(operation), Some(answer)) = (operation.downcast_ref(), answer.downcast_mut()) {
                fault(operation, answer);
            }
        }));
        self
    }

    /// The backend without faults.
    pub fn inner(&self) -> &B {
        &self.inner
    }
}

/// Runs the faults in order.
async fn ask(faults: Vec<BoxFuture<'static, Result<(), StorageError>>>) -> Result<(), StorageError> {
    for fault in faults {
        fault.await?;
    }
    Ok(())
}

impl<B: StorageBackend> Layer for Faulty<B> {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        let attempt = Attempt { call: O::CALL, item: 0, operation: &operation };
        ask(self.before.iter().map(|fault| fault(&attempt)).collect()).await?;
        let mut answer = operation.clone().run(&self.inner).await?;
        self.after.iter().for_each(|fault| fault(&operation, &mut answer));
        Ok(answer)
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        let begun = async move {
            let attempt = Attempt { call: O::CALL, item: 0, operation: &operation };
            ask(self.before.iter().map(|fault| fault(&attempt)).collect()).await?;
            let items = operation.clone().run(&self.inner);
            let given = AtomicUsize::new(0);
            Ok(items.then(move |item| {
                let attempt = Attempt { call: O::CALL, item: given.fetch_add(1, Relaxed) + 1, operation: &operation };
                ask(self.before_item.iter().map(|fault| fault(&attempt)).collect()).map(|asked| asked.and(item))
            }))
        };
        begun.try_flatten_stream().boxed()
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        self.inner.extras()
    }
}
