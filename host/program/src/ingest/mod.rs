//! From senders to the store: what a connection sends becomes traces, concurrent writes share group commits, and what is
//! stored is told to those who watch.

mod chunk;
mod client_traces;
mod committer;
#[cfg(test)]
pub(crate) mod gated;
mod live;
mod open_trace;
mod session;
mod trace_ids;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

pub use chunk::{Original, Outcomes, Received};
pub use committer::{CommitError, Committer};
pub use live::{Lagged, Live, LiveEvent, Subscription, SubscriptionFilters};
pub use session::{Session, Submitted};

use client_traces::{ClientTraces, GRACE};
use futures::FutureExt;
use open_trace::OpenTrace;
use trace_ids::StartedHere;

use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, FlowVersion};
use reflow_tracing_storage::task::{Supervised, TaskHealth};

/// The flow of events whose sender never said which flow it runs.
pub const UNKNOWN_FLOW: &str = "unknown";

/// The tag of a trace that its clients did not end. Its value says why it ended.
pub const INTERRUPTED_TAG: &str = "reflow.interrupted";

/// How often the host looks for interrupted traces.
const INTERRUPTED_INTERVAL: Duration = Duration::from_secs(1);

/// What all senders share: the store, the queue of writes to it, and the live stream.
#[derive(Clone)]
pub struct Ingest {
    storage: Arc<dyn StorageBackend>,
    committer: Committer,
    started: StartedHere,
    client_traces: ClientTraces,
    live: Live,
    tasks: Arc<[TaskHealth]>,
}

impl Ingest {
    /// Ingest into `storage`. Must be called within a tokio runtime, which then writes what is submitted.
    pub fn new(storage: Arc<dyn StorageBackend>) -> Self {
        let live = Live::new();
        let committer = Committer::start(storage.clone(), live.clone());
        let client_traces = ClientTraces::default();
        let interrupted = Interrupted { storage: storage.clone(), traces: client_traces.clone() };
        let interrupted = Supervised::start("ending interrupted traces", move || interrupted.clone().watch());
        let tasks = committer.health().iter().cloned().chain([interrupted.detached()]).collect();
        Self { committer, started: StartedHere::default(), client_traces, storage, live, tasks }
    }

    /// The store that events go to.
    pub fn storage(&self) -> &dyn StorageBackend {
        &*self.storage
    }

    /// The queue of writes to the store.
    pub fn committer(&self) -> &Committer {
        &self.committer
    }

    /// How the tasks are that everyone shares.
    pub fn tasks(&self) -> &[TaskHealth] {
        &self.tasks
    }

    /// The events as they are stored.
    pub fn live(&self) -> &Live {
        &self.live
    }
}

impl Ingest {
    /// Ends the traces that nobody ended and nobody sends any more. To be called when every connection has ended.
    pub async fn end_interrupted(&self) {
        let interrupted = Interrupted { storage: self.storage.clone(), traces: self.client_traces.clone() };
        interrupted.end(Duration::ZERO, "the host was stopped before the trace ended").await;
    }
}

/// What ends the traces whose clients went away.
#[derive(Clone)]
struct Interrupted {
    storage: Arc<dyn StorageBackend>,
    traces: ClientTraces,
}

impl Interrupted {
    async fn watch(self) {
        loop {
            tokio::time::sleep(INTERRUPTED_INTERVAL).await;
            self.end(GRACE, "the connections ended before the trace did").await;
        }
    }

    async fn end(&self, grace: Duration, reason: &str) {
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
async fn known_header(storage: &dyn StorageBackend, trace: &OpenTrace) -> Result<Option<FlowTrace>, StorageError> {
    match guard(storage.get_headers(vec![trace.trace_id])).await {
        Ok(headers) => Ok(headers.into_iter().next().flatten().or_else(|| trace.header())),
        Err(error @ StorageError::Pending(_)) => trace.header().map(Some).ok_or(error),
        Err(error) => Err(error),
    }
}

/// Waits for a backend. One that panics must not end the task that calls it, which serves everyone.
async fn guard<T>(call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
        Err(StorageError::Other { message: "the backend panicked; its log says why".into(), retryable: true })
    })
}
