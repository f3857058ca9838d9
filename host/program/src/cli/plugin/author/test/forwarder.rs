//! A forwarder as a store: it writes, and its receiver is read.

use futures::stream::BoxStream;
use reflow_tracing::plugin::PluginBackend;
use reflow_tracing::storage::StorageError;
use reflow_tracing::storage::extras::StorageExtras;
use reflow_tracing::storage::layers::layer::{Call, Layer, Operation, Purpose, StreamOperation};

use super::services::HttpReceiver;

/// A layer whose reads return what the receiver has accepted.
pub(super) struct Forwarder {
    pub plugin: PluginBackend,
    pub receiver: HttpReceiver,
}

impl Layer for Forwarder {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        let of_plugin = O::CALL.purpose() == Purpose::Write || matches!(O::CALL, Call::HealthCheck | Call::Close);
        if !of_plugin {
            return operation.run(self.receiver.accepted()).await;
        }
        let output = operation.run(&self.plugin).await;
        // Says more than what the plugin makes of the answer.
        self.receiver.check()?;
        output
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        operation.run(self.receiver.accepted())
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        None
    }
}
