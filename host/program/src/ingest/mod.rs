//! From senders to the store: what a connection sends becomes traces, concurrent writes share group commits, and what is
//! stored is told to those who watch.

mod chunk;
mod committer;
#[cfg(test)]
pub(crate) mod gated;
mod live;
mod open_trace;
mod session;
mod trace_ids;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

pub use chunk::{Original, Outcomes, Received};
pub use committer::{CommitError, Committer};
pub use live::{Lagged, Live, LiveEvent, Subscription, SubscriptionFilters};
pub use session::{Session, Submitted};

use futures::FutureExt;
use trace_ids::StartedHere;

use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing_storage::task::TaskHealth;

/// What all senders share: the store, the queue of writes to it, and the live stream.
#[derive(Clone)]
pub struct Ingest {
    storage: Arc<dyn StorageBackend>,
    committer: Committer,
    started: StartedHere,
    live: Live,
}

impl Ingest {
    /// Ingest into `storage`. Must be called within a tokio runtime, which then writes what is submitted.
    pub fn new(storage: Arc<dyn StorageBackend>) -> Self {
        let live = Live::new();
        let committer = Committer::start(storage.clone(), live.clone());
        Self { committer, started: StartedHere::default(), storage, live }
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
        self.committer.health()
    }

    /// The events as they are stored.
    pub fn live(&self) -> &Live {
        &self.live
    }
}

/// Waits for a backend. One that panics must not end the task that calls it, which serves everyone.
async fn guard<T>(call: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
        Err(StorageError::Other { message: "the backend panicked; its log says why".into(), retryable: true })
    })
}
