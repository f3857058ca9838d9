//! A trace in the store.

use std::mem::size_of;
use std::sync::Arc;

use super::events::{Events, SharedEvents};
use super::index::Index;
use super::names::Name;
use super::size::{ARC_BYTES, table_entry_bytes};
use reflow_tracing_model::{ExecutionId, FlowTrace, Position, TraceEventKind, TraceId};

/// A trace in the store: its header, its events, or both.
#[derive(Default)]
pub(super) struct Entry {
    pub header: Option<Header>,
    pub events: Events,
    pub facts: Facts,
}

/// A header, without events.
pub(super) struct Header {
    pub trace: Arc<FlowTrace>,
    pub flow: Name,
    /// Its heap size.
    pub heap_bytes: usize,
}

/// Summary of the events for queries, updated as they arrive, so that no query reads events.
#[derive(Default)]
pub(super) struct Facts {
    /// The actors that the events happened to, by ascending number.
    pub actors: Vec<Name>,
    pub kinds: Kinds,
    pub has_error: bool,
}

/// A set of kinds of events.
#[derive(Default)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub(super) fn insert(&mut self, kind: TraceEventKind) {
        self.0 |= 1 << kind as u16;
    }

    pub(super) fn contains(&self, kind: TraceEventKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }
}

impl Header {
    pub(super) fn position(&self) -> Position {
        Position::of(&self.trace)
    }
}

impl Entry {
    /// The fixed size of a trace: the entry itself, its slot in the map of traces, and its node in the order of use (two links
    /// and a pointer).
    pub(super) const BYTES: usize = size_of::<Self>()
        + table_entry_bytes(size_of::<(TraceId, Box<Self>)>())
        + size_of::<TraceId>()
        + 2 * size_of::<usize>()
        + table_entry_bytes(size_of::<usize>());

    /// The fixed size of a header: it is shared, and in three indexes.
    const HEADER_BYTES: usize = ARC_BYTES
        + size_of::<FlowTrace>()
        + Index::<()>::ENTRY_BYTES
        + Index::<u64>::ENTRY_BYTES
        + Index::<ExecutionId>::ENTRY_BYTES;

    /// The size of the trace beyond [`BYTES`](Self::BYTES), in O(1). Names are counted where they are interned.
    pub(super) fn bytes(&self) -> usize {
        let actors = self.facts.actors.capacity() * size_of::<Name>();
        let of_header = self.header.as_ref().map_or(0, |header| {
            Self::HEADER_BYTES + header.heap_bytes + self.facts.actors.len() * Index::<u64>::ENTRY_BYTES
        });
        self.events.bytes() + actors + of_header
    }

    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        Some(Snapshot { header: self.header.as_ref()?.trace.clone(), events: self.events.share() })
    }
}

/// A snapshot of a trace.
pub(super) struct Snapshot {
    header: Arc<FlowTrace>,
    events: SharedEvents,
}

impl Snapshot {
    /// Copies it.
    pub(super) fn to_trace(&self) -> FlowTrace {
        FlowTrace { events: self.events.to_sorted(), ..FlowTrace::clone(&self.header) }
    }
}
