//! Traces whose ids their clients chose, so that several connections may send one trace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reflow_tracing::TraceId;
use tokio::time::Instant;

use super::open_trace::OpenTrace;

/// How long the clients of a trace may be away before it counts as interrupted.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The traces that connections to this host send, or sent a moment ago. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct ClientTraces(Arc<Mutex<HashMap<TraceId, Entry>>>);

struct Entry {
    trace: Arc<OpenTrace>,
    connections: usize,
    /// When the last connection left.
    left: Option<Instant>,
}

impl ClientTraces {
    fn entries(&self) -> MutexGuard<'_, HashMap<TraceId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection begins to send the trace.
    pub(super) fn join(&self, trace_id: TraceId) -> Arc<OpenTrace> {
        let mut entries = self.entries();
        let new = || Entry { trace: Arc::new(OpenTrace::new(trace_id)), connections: 0, left: None };
        let entry = entries.entry(trace_id).or_insert_with(new);
        entry.connections += 1;
        entry.left = None;
        Arc::clone(&entry.trace)
    }

    /// A connection that joined the trace sends no more of it.
    pub(super) fn leave(&self, trace_id: TraceId) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&trace_id) else { return };
        entry.connections -= 1;
        if entry.connections > 0 {
            return;
        }
        if entry.trace.has_ended() {
            entries.remove(&trace_id);
        } else {
            entry.left = Some(Instant::now());
        }
    }

    /// Forgets the traces that nobody ended and whose last connection left at least `grace` ago, and returns them.
    pub(super) fn take_interrupted(&self, grace: Duration) -> Vec<Arc<OpenTrace>> {
        let is_over = |entry: &mut Entry| entry.left.is_some_and(|left| left.elapsed() >= grace);
        self.entries().extract_if(|_, entry| is_over(entry)).map(|(_, entry)| entry.trace).collect()
    }

    /// Remembers a trace whose end could not be stored, to be taken again after `GRACE`.
    pub(super) fn put_back(&self, trace: Arc<OpenTrace>) {
        let entry = Entry { trace, connections: 0, left: Some(Instant::now()) };
        self.entries().entry(entry.trace.trace_id).or_insert(entry);
    }
}
