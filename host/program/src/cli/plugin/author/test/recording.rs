//! A store that records which traces were written, so that it can be emptied after a case.

use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::BoxStream;
use reflow_tracing::TraceId;
use reflow_tracing::plugin::PluginBackend;
use reflow_tracing::storage::extras::StorageExtras;
use reflow_tracing::storage::layers::layer::{
    Layer, Operation, StoreEvent, StoreEvents, StoreTrace, StoreTraces, StreamOperation,
};
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};

/// The traces that were written to any store of a run.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<HashSet<TraceId>>>);

impl Written {
    fn add(&self, ids: impl IntoIterator<Item = TraceId>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    /// Deletes these traces, and no others.
    pub(super) async fn delete_from(&self, store: &PluginBackend) -> Result<(), StorageError> {
        let ids = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        store.delete_traces(ids.into_iter().collect()).await.map(drop)
    }
}

/// A layer that records which traces are written.
pub(super) struct Recording {
    pub store: PluginBackend,
    pub written: Written,
}

impl Layer for Recording {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        let any: &dyn Any = &operation;
        if let Some(StoreTrace(trace)) = any.downcast_ref() {
            self.written.add([trace.trace_id]);
        } else if let Some(StoreTraces(traces)) = any.downcast_ref() {
            self.written.add(traces.iter().map(|trace| trace.trace_id));
        } else if let Some(StoreEvent(trace_id, _)) = any.downcast_ref() {
            self.written.add([*trace_id]);
        } else if let Some(StoreEvents(events)) = any.downcast_ref() {
            self.written.add(events.iter().map(|(trace_id, _)| *trace_id));
        }
        operation.run(&self.store).await
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        operation.run(&self.store)
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        StorageBackend::extras(&self.store)
    }
}
