//! The state of a memory store, guarded by its lock.

use std::collections::HashSet;

use super::config::MemoryConfig;
use super::entry::{Entry, Facts, Header};
use super::index::Index;
use super::names::Names;
use super::recency::Traces;
use super::size::pack_header;
use reflow_tracing_model::{ExecutionId, FlowTrace, Position, TraceEvent, TraceId};
use reflow_tracing_storage::{StorageError, StorageStats};

const MIB: usize = 1024 * 1024;

pub(super) struct State {
    config: MemoryConfig,
    pub traces: Traces,
    pub indexes: Indexes,
    events: u64,
    /// What the entries take up beside [`Entry::BYTES`].
    bytes: usize,
    garbage: Vec<Entry>,
    /// The number of traces that queries have examined.
    #[cfg(test)]
    pub looked_at: std::sync::atomic::AtomicUsize,
}

/// Indexes of the traces that have a header, in the orders that queries need.
#[derive(Default)]
pub(super) struct Indexes {
    pub by_start: Index<()>,
    pub by_flow: Index<u64>,
    pub by_execution: Index<ExecutionId>,
    pub by_actor: Index<u64>,
    pub flows: Names,
    pub actors: Names,
}

impl Indexes {
    fn add_header(&mut self, header: &Header, facts: &Facts) {
        let at = header.position();
        self.by_start.insert((), at);
        self.by_flow.insert(header.flow.number, at);
        self.by_execution.insert(header.trace.execution_id, at);
        facts.actors.iter().for_each(|actor| self.by_actor.insert(actor.number, at));
    }

    fn remove_header(&mut self, header: &Header, facts: &Facts) {
        let at = header.position();
        self.by_start.remove((), at);
        self.by_flow.remove(header.flow.number, at);
        self.by_execution.remove(header.trace.execution_id, at);
        facts.actors.iter().for_each(|actor| self.by_actor.remove(actor.number, at));
        self.flows.release(&header.flow);
    }

    /// Records that the trace at this position, if it has one yet, has an event of the actor.
    fn add_actor(&mut self, actor_id: &str, facts: &mut Facts, at: Option<Position>) {
        let place = |number| facts.actors.binary_search_by_key(&number, |actor| actor.number);
        if self.actors.number(actor_id).is_some_and(|number| place(number).is_ok()) {
            return;
        }
        let actor = self.actors.acquire(actor_id);
        if let Some(at) = at {
            self.by_actor.insert(actor.number, at);
        }
        if let Err(place) = place(actor.number) {
            facts.actors.insert(place, actor);
        }
    }
}

impl State {
    pub(super) fn new(config: MemoryConfig) -> Self {
        Self {
            config,
            traces: Traces::default(),
            indexes: Indexes::default(),
            events: 0,
            bytes: 0,
            garbage: Vec::new(),
            #[cfg(test)]
            looked_at: Default::default(),
        }
    }

    pub(super) fn set_header(&mut self, mut header: FlowTrace) {
        let heap_bytes = pack_header(&mut header);
        let entry = self.traces.entry(header.trace_id);
        let before = entry.bytes();
        let flow = self.indexes.flows.acquire(header.flow_id.as_str());
        let header = Header { trace: header.into(), flow, heap_bytes };
        if let Some(replaced) = entry.header.take() {
            self.indexes.remove_header(&replaced, &entry.facts);
        }
        self.indexes.add_header(&header, &entry.facts);
        entry.header = Some(header);
        self.bytes = self.bytes - before + entry.bytes();
    }

    /// Rejects events if the trace would hold too many, or would not fit into the store even alone. The error says that it is these
    /// events, because others of their batch may well be stored.
    pub(super) fn check_room<'a>(
        &self,
        trace_id: TraceId,
        events: impl ExactSizeIterator<Item = &'a TraceEvent> + Clone,
    ) -> Result<(), StorageError> {
        let MemoryConfig { max_events_per_trace, max_memory_mb, .. } = self.config;
        let max_bytes = max_memory_mb.saturating_mul(MIB);
        let size = |event: &TraceEvent| size_of::<TraceEvent>() + event.approximate_bytes();
        let entry = self.traces.get(trace_id);
        let is_alone = self.traces.len() == 1;
        let held = |entry: &Entry| if is_alone { self.bytes() } else { entry.bytes() };
        let (stored, held) = entry.map_or((0, 0), |entry| (entry.events.len(), held(entry)));
        // Usually there is space even if all of them are new.
        let bytes = held + events.clone().map(size).sum::<usize>();
        if stored + events.len() <= max_events_per_trace && bytes <= max_bytes {
            return Ok(());
        }
        let mut keys = HashSet::new();
        let is_new = |event: &&TraceEvent| entry.is_none_or(|entry| !entry.events.has(event.key()));
        let new: Vec<_> = events.filter(|event| is_new(event) && keys.insert(event.key())).collect();
        let total = stored + new.len();
        if total > max_events_per_trace {
            return Err(StorageError::InvalidArgument(format!(
                "trace {trace_id} would hold {total} events; max_events_per_trace is {max_events_per_trace}"
            )));
        }
        let bytes = held + new.iter().copied().map(size).sum::<usize>();
        if !new.is_empty() && bytes > max_bytes {
            return Err(StorageError::InvalidArgument(format!(
                "trace {trace_id} would take {} MiB, more than the whole store may; max_memory_mb is {max_memory_mb}",
                bytes.div_ceil(MIB)
            )));
        }
        Ok(())
    }

    /// Adds the events that are new.
    pub(super) fn add_events(&mut self, trace_id: TraceId, events: impl ExactSizeIterator<Item = TraceEvent>) {
        let entry = self.traces.entry(trace_id);
        let (bytes, count) = (entry.bytes(), entry.events.len());
        let at = entry.header.as_ref().map(Header::position);
        entry.events.add(events, |event| {
            entry.facts.kinds.insert(event.event_type.kind());
            entry.facts.has_error |= event.is_error();
            self.indexes.add_actor(&event.actor_id, &mut entry.facts, at);
        });
        self.events += (entry.events.len() - count) as u64;
        self.bytes = self.bytes - bytes + entry.bytes();
    }

    /// Evicts until the bounds hold, but never the most recently used trace.
    pub(super) fn evict(&mut self) {
        let max_bytes = self.config.max_memory_mb.saturating_mul(MIB);
        while self.traces.len() > 1 && (self.traces.len() > self.config.max_traces || self.bytes() > max_bytes) {
            let Some(trace_id) = self.traces.least_recent() else { return };
            self.remove(trace_id);
        }
    }

    /// The trace, if it has a header, for a query.
    pub(super) fn look_at(&self, trace_id: TraceId) -> Option<(&Header, &Entry)> {
        #[cfg(test)]
        self.looked_at.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let entry = self.traces.get(trace_id)?;
        Some((entry.header.as_ref()?, entry))
    }

    /// Removes a trace. Returns whether anything of it was stored.
    pub(super) fn remove(&mut self, trace_id: TraceId) -> bool {
        let Some(entry) = self.traces.remove(trace_id) else { return false };
        if let Some(header) = &entry.header {
            self.indexes.remove_header(header, &entry.facts);
        }
        entry.facts.actors.iter().for_each(|actor| self.indexes.actors.release(actor));
        self.events -= entry.events.len() as u64;
        self.bytes -= entry.bytes();
        self.garbage.push(entry);
        true
    }

    /// What was removed since the last call. Freeing a trace takes as long as copying it, so it is freed after the lock is
    /// released.
    pub(super) fn take_garbage(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.garbage)
    }

    /// The size of the store, which decides on evictions.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.traces.len() * Entry::BYTES + self.indexes.flows.bytes() + self.indexes.actors.bytes()
    }

    pub(super) fn stats(&self) -> StorageStats {
        let by_start = &self.indexes.by_start;
        let start_of = |at: Position| Some(self.traces.get(at.trace_id)?.header.as_ref()?.trace.start_time);
        StorageStats {
            traces: by_start.len() as u64,
            events: self.events,
            bytes: Some(self.bytes() as u64),
            oldest: by_start.oldest().and_then(start_of),
            newest: by_start.newest().and_then(start_of),
        }
    }
}
