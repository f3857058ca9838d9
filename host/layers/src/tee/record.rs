//! What a call writes, for the queues.

use std::any::Any;
use std::slice;

use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
use reflow_tracing_storage::layer::{
    BeginTraces, LeaveTraces, Operation, StoreEvent, StoreEvents, StoreTrace, StoreTraces,
};
use reflow_tracing_storage::{StorageBackend, StorageError};

use crate::spool::record::Encoded;

/// What a call writes, if the store takes it.
pub(super) enum Write {
    /// This.
    Known(Encoded),
    /// The store decides which of these headers it stores.
    Conditional(Vec<FlowTrace>),
}

impl Write {
    /// What `operation` writes; `None` if it is not a write. Fails if no store may take it.
    pub(super) fn of<O: Operation>(operation: &O) -> Result<Option<Self>, StorageError> {
        let operation: &dyn Any = operation;
        if let Some(StoreEvents(events)) = operation.downcast_ref() {
            encoded(&[], events)
        } else if let Some(StoreEvent(trace_id, event)) = operation.downcast_ref() {
            encoded(&[], &[(*trace_id, event.clone())])
        } else if let Some(StoreTraces(traces)) = operation.downcast_ref() {
            encoded(traces, &[])
        } else if let Some(StoreTrace(trace)) = operation.downcast_ref() {
            encoded(slice::from_ref(trace), &[])
        } else if let Some(BeginTraces(_, headers)) = operation.downcast_ref() {
            Ok(Some(Self::Conditional(headers.clone())))
        } else if let Some(LeaveTraces(_, headers)) = operation.downcast_ref() {
            Ok(Some(Self::Conditional(headers.clone())))
        } else {
            Ok(None)
        }
    }

    /// The record for the queues, after the store took the write.
    pub(super) async fn record(self, store: &dyn StorageBackend) -> Encoded {
        match self {
            Self::Known(record) => record,
            Self::Conditional(headers) => {
                let ids = headers.iter().map(|header| header.trace_id).collect();
                let stored = match store.get_headers(ids).await {
                    Ok(stored) => stored.into_iter().flatten().collect(),
                    // What the store was asked to write is the best that is known.
                    Err(error) => {
                        tracing::debug!("the headers that were stored are unknown: {error}");
                        headers
                    }
                };
                Encoded::new(&stored, &[])
            }
        }
    }
}

fn encoded(traces: &[FlowTrace], events: &[(TraceId, TraceEvent)]) -> Result<Option<Write>, StorageError> {
    traces.iter().try_for_each(FlowTrace::validate)?;
    events.iter().try_for_each(|(_, event)| event.validate())?;
    Ok(Some(Write::Known(Encoded::new(traces, events))))
}
