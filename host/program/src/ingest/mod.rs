//! From senders to the store: what a connection sends becomes traces, concurrent writes share group commits, and what is
//! stored is told to those who watch.

mod chunk;
mod clocks;
mod committer;
mod filter;
#[cfg(test)]
pub(crate) mod gated;
mod headers;
mod interrupted;
mod live;
mod open_trace;
mod open_traces;
mod session;
mod trace_ids;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

pub use chunk::{Original, Outcomes, Received};
pub use clocks::Clocks;
pub use committer::{CommitError, Committer};
pub use filter::SubscriptionFilters;
pub use interrupted::INTERRUPTED_TAG;
use interrupted::Interrupted;
pub use live::{Lagged, Live, LiveEvent, Subscription};
pub use session::{Session, Submitted};

use futures::FutureExt;
use headers::Headers;
use open_traces::OpenTraces;
use trace_ids::StartedHere;

use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing_storage::task::{Supervised, TaskHealth};

/// The flow of events whose sender never said which flow it runs.
pub const UNKNOWN_FLOW: &str = "unknown";

/// Why traces end with the host.
const HOST_STOPPED: &str = "the host was stopped before the trace ended";

/// What all senders share: the store, the queue of writes to it, and the live stream.
#[derive(Clone)]
pub struct Ingest {
    storage: Arc<dyn StorageBackend>,
    committer: Committer,
    started: StartedHere,
    headers: Headers,
    open: OpenTraces,
    interrupted: Interrupted,
    clocks: Clocks,
    live: Live,
    tasks: Arc<[TaskHealth]>,
}

impl Ingest {
    /// Ingest into `storage`. Must be called within a tokio runtime, which then writes what is submitted.
    pub fn new(storage: Arc<dyn StorageBackend>) -> Self {
        let (live, clocks, open) = (Live::new(), Clocks::default(), OpenTraces::default());
        let headers = Headers::new(storage.clone());
        let committer = Committer::start(headers.clone(), live.clone(), clocks.clone());
        let interrupted = Interrupted::new(headers.clone(), open.clone());
        let [watch, lease] = [interrupted.clone(), interrupted.clone()];
        let watch = Supervised::start("ending interrupted traces", move || watch.clone().watch());
        let lease = Supervised::start("renewing the lease on traces", move || lease.clone().keep_lease());
        let tasks = committer.health().iter().cloned().chain([watch.detached(), lease.detached()]).collect();
        Self { committer, started: StartedHere::default(), headers, open, interrupted, clocks, storage, live, tasks }
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

    /// The times of events that can't be right.
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Ends the traces that nobody ended and nobody sends any more. To be called when every connection has ended.
    pub async fn end_interrupted(&self) {
        self.interrupted.end(Duration::ZERO, HOST_STOPPED).await;
        // No trace of this host is to be waited for.
        if let Err(error) = self.headers.renew_lease(Duration::ZERO).await {
            tracing::debug!("the lease of this host was not ended: {error}");
        }
    }
}

/// Waits for a backend. One that panics must not end the task that calls it, which serves everyone.
async fn guard<T>(call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
        Err(StorageError::Other { message: "the backend panicked; its log says why".into(), retryable: true })
    })
}
