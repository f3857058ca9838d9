use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use reflow_tracing_model::time::nanos;
use reflow_tracing_model::{EventKey, FlowId, FlowTrace, FlowVersion, SortOrder, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_storage::StorageStats;

/// The expected contents and results of a store, computed in the simplest way: a list of traces that every query scans.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    headers: BTreeMap<TraceId, FlowTrace>,
    events: BTreeMap<TraceId, BTreeMap<EventKey, TraceEvent>>,
}

impl Oracle {
    /// Stores a trace: the header replaces an earlier one; of events with the same time and id the first stays.
    pub fn store_trace(&mut self, mut trace: FlowTrace) {
        for event in std::mem::take(&mut trace.events) {
            self.store_event(trace.trace_id, event);
        }
        self.headers.insert(trace.trace_id, trace);
    }

    /// Stores an event unless its trace has one with its time and id.
    pub fn store_event(&mut self, trace_id: TraceId, event: TraceEvent) {
        self.events.entry(trace_id).or_default().entry(event.key()).or_insert(event);
    }

    /// Deletes a trace. Returns whether anything of it was stored.
    pub fn delete_trace(&mut self, trace_id: TraceId) -> bool {
        let events = self.events.remove(&trace_id);
        self.headers.remove(&trace_id).is_some() || events.is_some()
    }

    /// Deletes the traces that started before `time`. Returns their number.
    pub fn delete_before(&mut self, time: DateTime<Utc>) -> u64 {
        let old: Vec<_> = self.traces().into_iter().filter(|trace| nanos(trace.start_time) < nanos(time)).collect();
        old.iter().filter(|trace| self.delete_trace(trace.trace_id)).count() as u64
    }

    /// The trace with its events.
    pub fn trace(&self, trace_id: TraceId) -> Option<FlowTrace> {
        Some(FlowTrace { events: self.events(trace_id), ..self.headers.get(&trace_id)?.clone() })
    }

    /// The events of a trace, in their order.
    pub fn events(&self, trace_id: TraceId) -> Vec<TraceEvent> {
        self.events.get(&trace_id).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Every trace that has a header, in no particular order.
    pub fn traces(&self) -> Vec<FlowTrace> {
        self.headers.keys().filter_map(|trace_id| self.trace(*trace_id)).collect()
    }

    /// Every id that a header or an event was stored for.
    pub fn trace_ids(&self) -> BTreeSet<TraceId> {
        self.headers.keys().chain(self.events.keys()).copied().collect()
    }

    /// The traces that have events but no header.
    pub fn headerless(&self) -> Vec<TraceId> {
        self.events.keys().filter(|trace_id| !self.headers.contains_key(trace_id)).copied().collect()
    }

    /// Every matching trace, in order, regardless of the window.
    pub fn matching(&self, query: &TraceQuery) -> Vec<FlowTrace> {
        let mut traces = self.traces();
        traces.retain(|trace| query.matches(trace));
        traces.sort_by(|a, b| {
            let by_start = nanos(a.start_time).cmp(&nanos(b.start_time));
            let by_start = if query.order == SortOrder::NewestFirst { by_start.reverse() } else { by_start };
            by_start.then(a.trace_id.cmp(&b.trace_id))
        });
        traces
    }

    /// The result of a query without a page token; each backend has its own tokens.
    pub fn query(&self, query: &TraceQuery) -> Vec<FlowTrace> {
        let offset = query.offset.unwrap_or(0);
        let limit = query.limit.unwrap_or(TraceQuery::DEFAULT_LIMIT);
        self.matching(query).into_iter().skip(offset).take(limit).collect()
    }

    /// The versions of a flow.
    pub fn flow_versions(&self, flow_id: &FlowId) -> Vec<FlowVersion> {
        let of_flow = self.headers.values().filter(|header| header.flow_id == *flow_id);
        of_flow.map(|header| header.version.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The statistics of the store, without events of headerless traces.
    pub fn stats(&self) -> StorageStats {
        let starts = || self.headers.values().map(|header| header.start_time);
        StorageStats {
            traces: self.headers.len() as u64,
            events: self.traces().iter().map(|trace| trace.events.len() as u64).sum(),
            bytes: None,
            oldest: starts().min_by_key(|start| nanos(*start)),
            newest: starts().max_by_key(|start| nanos(*start)),
        }
    }
}
