//! Which flow a trace belongs to, for the events of a batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use reflow_tracing_model::TraceId;

/// The size of a generation: the flows of this many bytes or traces are remembered at least.
const TRACES: usize = 10_000;
const BYTES: usize = 4 * 1024 * 1024;

/// The flows of the traces whose headers were stored last. The memory is bounded.
#[derive(Debug, Default)]
pub(crate) struct Flows(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<TraceId, Arc<str>>,
    young_bytes: usize,
    old: HashMap<TraceId, Arc<str>>,
}

impl Flows {
    /// Remembers the flow of a trace.
    pub(crate) fn note(&self, trace_id: TraceId, flow_id: &str) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.get(&trace_id).is_some_and(|known| **known == *flow_id) {
            return;
        }
        generations.add(trace_id, flow_id.into());
    }

    /// The flow of a trace, if its header was stored lately.
    pub(crate) fn of(&self, trace_id: TraceId) -> Option<Arc<str>> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flow_id) = generations.young.get(&trace_id) {
            return Some(Arc::clone(flow_id));
        }
        // What is used stays.
        let flow_id = generations.old.remove(&trace_id)?;
        generations.add(trace_id, Arc::clone(&flow_id));
        Some(flow_id)
    }
}

impl Generations {
    fn add(&mut self, trace_id: TraceId, flow_id: Arc<str>) {
        if self.young.len() >= TRACES || self.young_bytes >= BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += flow_id.len();
        self.young.insert(trace_id, flow_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flows_used_last_are_remembered_and_the_others_forgotten() {
        let flows = Flows::default();
        let (used, unused) = (TraceId::new(), TraceId::new());
        flows.note(used, "used");
        flows.note(unused, "unused");
        for _ in 0..3 * TRACES {
            flows.note(TraceId::new(), "other");
            assert_eq!(flows.of(used).as_deref(), Some("used"));
        }
        assert_eq!(flows.of(unused), None);
        flows.note(used, "renamed");
        assert_eq!(flows.of(used).as_deref(), Some("renamed"));
    }
}
