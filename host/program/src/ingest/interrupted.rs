//! The ends of traces whose clients went away without ending them.

use std::sync::Arc;
use std::time::Duration;

use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, FlowVersion};

use super::client_traces::{ClientTraces, GRACE};
use super::open_trace::OpenTrace;
use super::{UNKNOWN_FLOW, guard};

/// The tag of a trace that its clients did not end. Its value says why it ended.
pub const INTERRUPTED_TAG: &str = "reflow.interrupted";

/// How often the host looks for interrupted traces.
const INTERVAL: Duration = Duration::from_secs(1);

/// What ends the traces whose clients went away.
#[derive(Clone)]
pub(super) struct Interrupted {
    pub(super) storage: Arc<dyn StorageBackend>,
    pub(super) traces: ClientTraces,
}

impl Interrupted {
    pub(super) async fn watch(self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.end(GRACE, "the connections ended before the trace did").await;
        }
    }

    pub(super) async fn end(&self, grace: Duration, reason: &str) {
        for trace in self.traces.take_interrupted(grace) {
            if let Err(error) = self.end_one(&trace, reason).await {
                tracing::error!(trace_id = %trace.trace_id, "the end of an interrupted trace was not stored: {error}");
                if error.is_retryable() {
                    self.traces.put_back(trace);
                }
            }
        }
    }

    async fn end_one(&self, trace: &OpenTrace, reason: &str) -> Result<(), StorageError> {
        if trace.is_empty() {
            return Ok(());
        }
        let header = match known_header(&*self.storage, trace).await? {
            // Another host, or a client that came back and left again, has ended it.
            Some(header) if header.end_time.is_some() => return Ok(()),
            Some(header) => header,
            None => FlowTrace {
                trace_id: trace.trace_id,
                start_time: trace.earliest().unwrap_or_default(),
                ..FlowTrace::new(FlowId::new(UNKNOWN_FLOW), FlowVersion::default())
            },
        };
        let mut header = trace.end(header, ExecutionStatus::Cancelled);
        header.metadata.tags.insert(INTERRUPTED_TAG.into(), reason.into());
        guard(self.storage.store_trace(header)).await
    }
}

/// The header of a trace: as the store has it, or as it is known here where the store can't be asked. Fails when neither can
/// tell.
pub(super) async fn known_header(
    storage: &dyn StorageBackend,
    trace: &OpenTrace,
) -> Result<Option<FlowTrace>, StorageError> {
    match guard(storage.get_headers(vec![trace.trace_id])).await {
        Ok(headers) => Ok(headers.into_iter().next().flatten().or_else(|| trace.header())),
        Err(error @ StorageError::Pending(_)) => trace.header().map(Some).ok_or(error),
        Err(error) => Err(error),
    }
}
