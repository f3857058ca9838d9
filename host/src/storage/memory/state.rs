//! What the lock of a memory store guards.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::size_of;
use std::sync::Arc;

use hashlink::LinkedHashMap;

use super::super::{StorageError, StorageStats};
use super::MemoryConfig;
use crate::model::{EventId, FlowTrace, TraceEvent, TraceId};

pub(super) struct State {
    config: MemoryConfig,
    /// The least recently used first.
    traces: LinkedHashMap<TraceId, Entry>,
    bytes: usize,
}

#[derive(Default)]
struct Entry {
    header: Option<Arc<FlowTrace>>,
    events: BTreeMap<(i64, EventId), Arc<TraceEvent>>,
    /// Every event's place, by its id.
    places: BTreeMap<EventId, i64>,
    bytes: usize,
}

/// A trace, as it was at one moment.
pub(super) struct Snapshot {
    pub header: Arc<FlowTrace>,
    events: Vec<Arc<TraceEvent>>,
}

impl Snapshot {
    pub(super) fn events(&self) -> impl Iterator<Item = &TraceEvent> {
        self.events.iter().map(Arc::as_ref)
    }

    pub(super) fn into_trace(self) -> FlowTrace {
        let events = self.events.into_iter().map(Arc::unwrap_or_clone).collect();
        FlowTrace { events, ..Arc::unwrap_or_clone(self.header) }
    }
}

impl Entry {
    fn snapshot(&self) -> Option<Snapshot> {
        let header = self.header.clone()?;
        Some(Snapshot { header, events: self.events.values().cloned().collect() })
    }
}

impl State {
    pub(super) fn new(config: MemoryConfig) -> Self {
        Self { config, traces: LinkedHashMap::new(), bytes: 0 }
    }

    /// The entry of a trace, now the most recently used; a new one if there is none.
    fn touch(&mut self, trace_id: TraceId) -> &mut Entry {
        if self.traces.to_back(&trace_id).is_none() {
            self.traces.insert(trace_id, Entry::default());
        }
        self.traces.get_mut(&trace_id).expect("it was inserted if it was missing")
    }

    pub(super) fn set_header(&mut self, header: FlowTrace) {
        let added = header_bytes(&header);
        let entry = self.touch(header.trace_id);
        let replaced = entry.header.replace(Arc::new(header)).map_or(0, |old| header_bytes(&old));
        entry.bytes = entry.bytes + added - replaced;
        self.bytes = self.bytes + added - replaced;
    }

    /// Adds the events that are new. Fails, adding none, when the trace would hold too many.
    pub(super) fn add_events(&mut self, trace_id: TraceId, events: Vec<TraceEvent>) -> Result<(), StorageError> {
        let limit = self.config.max_events_per_trace;
        let known = self.traces.get(&trace_id);
        let mut ids = BTreeSet::new();
        let is_new = |event: &TraceEvent| {
            known.is_none_or(|entry| !entry.places.contains_key(&event.event_id)) && ids.insert(event.event_id)
        };
        // Not in a map: its nodes have room for eleven events, and most calls bring one.
        let new: Vec<_> = events.into_iter().filter(is_new).collect();
        let total = known.map_or(0, |entry| entry.events.len()) + new.len();
        if total > limit {
            return Err(StorageError::Exhausted(format!(
                "trace {trace_id} would hold {total} events; max_events_per_trace is {limit}"
            )));
        }
        let entry = self.touch(trace_id);
        let mut added = 0;
        for event in new {
            added += event_bytes(&event);
            let place = event.order_key();
            entry.places.insert(event.event_id, place.0);
            entry.events.insert(place, Arc::new(event));
        }
        entry.bytes += added;
        self.bytes += added;
        Ok(())
    }

    /// Evicts until the bounds hold, but never the trace that was used last.
    pub(super) fn evict(&mut self) {
        let max_bytes = self.config.max_memory_mb.saturating_mul(1024 * 1024);
        while self.traces.len() > 1 && (self.traces.len() > self.config.max_traces || self.bytes > max_bytes) {
            if let Some((_, evicted)) = self.traces.pop_front() {
                self.bytes -= evicted.bytes;
            }
        }
    }

    pub(super) fn get(&mut self, trace_id: TraceId) -> Option<Snapshot> {
        self.traces.to_back(&trace_id)?.snapshot()
    }

    pub(super) fn events(&self, trace_id: TraceId) -> Vec<Arc<TraceEvent>> {
        self.traces.get(&trace_id).map(|entry| entry.events.values().cloned().collect()).unwrap_or_default()
    }

    /// The trace, if it has a header; looking at it is no use of it.
    pub(super) fn peek(&self, trace_id: TraceId) -> Option<Snapshot> {
        self.traces.get(&trace_id)?.snapshot()
    }

    pub(super) fn header(&self, trace_id: TraceId) -> Option<Arc<FlowTrace>> {
        self.traces.get(&trace_id)?.header.clone()
    }

    /// Every header, in no particular order.
    pub(super) fn headers(&self) -> Vec<Arc<FlowTrace>> {
        self.traces.values().filter_map(|entry| entry.header.clone()).collect()
    }

    pub(super) fn remove(&mut self, trace_id: TraceId) -> bool {
        match self.traces.remove(&trace_id) {
            Some(entry) => {
                self.bytes -= entry.bytes;
                true
            }
            None => false,
        }
    }

    pub(super) fn stats(&self) -> StorageStats {
        let starts = || self.traces.values().filter_map(|entry| entry.header.as_ref()).map(|header| header.start_time);
        StorageStats {
            traces: starts().count() as u64,
            events: self.traces.values().map(|entry| entry.events.len() as u64).sum(),
            bytes: Some(self.bytes as u64),
            oldest: starts().min(),
            newest: starts().max(),
        }
    }
}

/// A map's or a reference count's overhead an entry, about.
const ENTRY_BYTES: usize = 96;

fn header_bytes(header: &FlowTrace) -> usize {
    let metadata = &header.metadata;
    let texts = [&header.flow_id.0, &metadata.environment, &metadata.hostname, &metadata.thread_id];
    let optional = [&metadata.user_id, &metadata.session_id, &header.version.git_hash];
    size_of::<FlowTrace>()
        + size_of::<Entry>()
        + ENTRY_BYTES
        + texts.iter().map(|text| text.capacity()).sum::<usize>()
        + optional.iter().filter_map(|text| text.as_ref()).map(String::capacity).sum::<usize>()
        + header.status.error().map_or(0, str::len)
        + metadata.tags.iter().map(|(name, value)| ENTRY_BYTES + name.capacity() + value.capacity()).sum::<usize>()
}

fn event_bytes(event: &TraceEvent) -> usize {
    let data = &event.data;
    let message = data.message.as_ref().map_or(0, |message| {
        message.message_type.capacity() + message.checksum.capacity() + message.serialized_data.capacity()
    });
    let state = data
        .state_diff
        .as_ref()
        .map_or(0, |diff| diff.after.capacity() + diff.before.as_ref().map_or(0, Vec::capacity));
    size_of::<TraceEvent>()
        + 2 * ENTRY_BYTES
        + event.actor_id.capacity()
        + event.causality.span_id.capacity()
        + event.causality.dependency_chain.capacity() * size_of::<EventId>()
        + data.port.as_ref().map_or(0, String::capacity)
        + data.error.as_ref().map_or(0, String::capacity)
        + message
        + state
        + data
            .custom_attributes
            .iter()
            .map(|(name, value)| ENTRY_BYTES + name.capacity() + json_bytes(value))
            .sum::<usize>()
}

fn json_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    size_of::<Value>()
        + match value {
            Value::String(text) => text.capacity(),
            Value::Array(values) => values.iter().map(json_bytes).sum(),
            Value::Object(values) => {
                values.iter().map(|(name, value)| ENTRY_BYTES + name.capacity() + json_bytes(value)).sum()
            }
            _ => 0,
        }
}
