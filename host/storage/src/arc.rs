//! A shared backend is a backend.

use std::sync::Arc;

use futures::stream::BoxStream;

use crate::layer::{Layer, Operation, StreamOperation};
use crate::{StorageBackend, StorageError, StorageExtras};

impl<B: StorageBackend + ?Sized> Layer for Arc<B> {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        operation.run(&**self).await
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        operation.run(&**self)
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        (**self).extras()
    }
}
