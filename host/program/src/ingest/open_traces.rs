//! The traces whose events this host receives now.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reflow_tracing::{TraceId, TraceMetadata};
use tokio::time::Instant;

use super::open_trace::OpenTrace;
use crate::budget::Account;
use reflow_tracing::storage::StorageError;

/// How long the clients of a trace may be away before it counts as interrupted.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// What an open trace takes of the budget of its connection: the trace, its header, and its places in maps.
const OPEN_BYTES: usize = 2 * 1024;

/// The traces that connections to this host send, or sent a moment ago. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct OpenTraces(Arc<Mutex<HashMap<TraceId, Entry>>>);

fn no_room() -> StorageError {
    StorageError::Unavailable(
        "the memory for open traces is used up (`max_buffered_mb`); end some, or try again later".into(),
    )
}

struct Entry {
    trace: Arc<OpenTrace>,
    connections: usize,
    /// When the last connection left.
    left: Option<Instant>,
}

impl OpenTraces {
    fn entries(&self) -> MutexGuard<'_, HashMap<TraceId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection begins to send the trace, whose id its client chose if it is shared. Fails if there is no room for another one
    /// in the budget of `account`.
    pub(super) fn join(
        &self,
        trace_id: TraceId,
        is_shared: bool,
        sender: impl Fn() -> TraceMetadata,
        account: Option<&Account>,
    ) -> Result<Arc<OpenTrace>, StorageError> {
        let mut entries = self.entries();
        let entry = match entries.entry(trace_id) {
            MapEntry::Occupied(entry) => entry.into_mut(),
            MapEntry::Vacant(place) => {
                let share = match account {
                    Some(account) => Some(account.try_take(OPEN_BYTES).ok_or_else(no_room)?),
                    None => None,
                };
                let trace = OpenTrace::new(trace_id, is_shared, sender()).paid_with(share);
                place.insert(Entry { trace: Arc::new(trace), connections: 0, left: None })
            }
        };
        entry.connections += 1;
        entry.left = None;
        Ok(Arc::clone(&entry.trace))
    }

    /// A connection that joined the trace sends no more of it. Returns whether the trace has ended and nobody else sends it:
    /// then it is not open any more.
    pub(super) fn leave(&self, trace_id: TraceId) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&trace_id) else { return false };
        entry.connections -= 1;
        if entry.connections > 0 {
            return false;
        }
        if entry.trace.has_ended() || entry.trace.is_empty() {
            entries.remove(&trace_id);
            return true;
        }
        entry.left = Some(Instant::now());
        false
    }

    /// The trace, if it is open here.
    pub(super) fn get(&self, trace_id: TraceId) -> Option<Arc<OpenTrace>> {
        self.entries().get(&trace_id).map(|entry| Arc::clone(&entry.trace))
    }

    /// Every open trace.
    pub(super) fn all(&self) -> Vec<Arc<OpenTrace>> {
        self.entries().values().map(|entry| Arc::clone(&entry.trace)).collect()
    }

    /// The traces that nobody ended and whose last connection left at least `grace` ago.
    pub(super) fn interrupted(&self, grace: Duration) -> Vec<Arc<OpenTrace>> {
        let is_over = |entry: &&Entry| entry.left.is_some_and(|left| left.elapsed() >= grace);
        self.entries().values().filter(is_over).map(|entry| Arc::clone(&entry.trace)).collect()
    }

    /// Whether no connection sends the trace.
    pub(super) fn is_left(&self, trace_id: TraceId) -> bool {
        self.entries().get(&trace_id).is_none_or(|entry| entry.left.is_some())
    }

    /// Forgets a trace unless a connection sends it.
    pub(super) fn forget(&self, trace_id: TraceId) {
        let mut entries = self.entries();
        if entries.get(&trace_id).is_some_and(|entry| entry.left.is_some()) {
            entries.remove(&trace_id);
        }
    }

    /// Counts the time since the last connection left from now on.
    pub(super) fn postpone(&self, trace_id: TraceId) {
        if let Some(Entry { left: Some(left), .. }) = self.entries().get_mut(&trace_id) {
            *left = Instant::now();
        }
    }
}
