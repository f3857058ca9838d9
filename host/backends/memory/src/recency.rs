//! Traces ordered by last use.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hashlink::{DefaultHashBuilder, LinkedHashSet};

use super::entry::Entry;
use reflow_tracing_model::TraceId;

/// Traces by id, and the order in which they were used.
#[derive(Default)]
pub(super) struct Traces {
    /// Boxed, so that unused capacity of the map is small.
    entries: HashMap<TraceId, Box<Entry>, DefaultHashBuilder>,
    /// The ids of the entries, least recently used first. It has a lock of its own, held only to move one element, so that a
    /// read that counts as use needs only the shared lock.
    order: Mutex<LinkedHashSet<TraceId>>,
}

impl Traces {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The trace, without counting as use.
    pub(super) fn get(&self, trace_id: TraceId) -> Option<&Entry> {
        self.entries.get(&trace_id).map(Box::as_ref)
    }

    /// All traces, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TraceId, &Entry)> {
        self.entries.iter().map(|(trace_id, entry)| (*trace_id, &**entry))
    }

    /// The trace, now the most recently used.
    pub(super) fn get_used(&self, trace_id: TraceId) -> Option<&Entry> {
        let entry = self.get(trace_id)?;
        self.order.lock().unwrap_or_else(PoisonError::into_inner).to_back(&trace_id);
        Some(entry)
    }

    /// The trace, now the most recently used; created if it is missing.
    pub(super) fn entry(&mut self, trace_id: TraceId) -> &mut Entry {
        self.order().insert(trace_id);
        self.entries.entry(trace_id).or_default()
    }

    /// The least recently used trace.
    pub(super) fn least_recent(&mut self) -> Option<TraceId> {
        self.order().front().copied()
    }

    pub(super) fn remove(&mut self, trace_id: TraceId) -> Option<Entry> {
        self.order().remove(&trace_id);
        self.entries.remove(&trace_id).map(|entry| *entry)
    }

    fn order(&mut self) -> &mut LinkedHashSet<TraceId> {
        self.order.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}
