//! From senders to the store: what a connection sends becomes traces, concurrent writes share group commits, and what is
//! stored is told to those who watch.

mod chunk;
mod client_traces;
mod committer;
#[cfg(test)]
pub(crate) mod gated;
mod interrupted;
mod live;
mod open_trace;
mod session;
mod trace_ids;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

pub use chunk::{Original, Outcomes, Received};
pub use committer::{CommitError, Committer};
pub use interrupted::INTERRUPTED_TAG;
use interrupted::Interrupted;
pub use live::{Lagged, Live, LiveEvent, Subscription, SubscriptionFilters};
pub use session::{Session, Submitted};

use client_traces::ClientTraces;
use futures::FutureExt;
use trace_ids::StartedHere;

use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing_storage::task::{Supervised, TaskHealth};

/// The flow of events whose sender never said which flow it runs.
pub const UNKNOWN_FLOW: &str = "unknown";

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

    /// Ends the traces that nobody ended and nobody sends any more. To be called when every connection has ended.
    pub async fn end_interrupted(&self) {
        let interrupted = Interrupted { storage: self.storage.clone(), traces: self.client_traces.clone() };
        interrupted.end(Duration::ZERO, "the host was stopped before the trace ended").await;
    }
}

/// Waits for a backend. One that panics must not end the task that calls it, which serves everyone.
async fn guard<T>(call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
        Err(StorageError::Other { message: "the backend panicked; its log says why".into(), retryable: true })
    })
}
