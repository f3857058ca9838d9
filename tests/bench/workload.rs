//! The workload: the events of a session that Reflow's own client recorded, repeated with fresh ids and times.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reflow_tracing::{EventId, ExecutionId, ExecutionStatus, FlowId, FlowTrace, TraceEvent, TraceId};
use reflow_tracing_tests::fixture;
use serde_json::Value;
use uuid::Uuid;

/// The default number of events in a trace.
pub const EVENTS_A_TRACE: usize = 20;

/// The number of flows, used in rotation.
const FLOWS: usize = 4;

/// The events of a batch, each with its trace.
pub type Batch = Vec<(TraceId, TraceEvent)>;

pub struct Workload {
    /// Of the recorded trace; its start is when the time of the workload begins.
    header: FlowTrace,
    templates: Vec<TraceEvent>,
    elapsed: Duration,
    traces: usize,
}

impl Workload {
    pub fn new() -> Result<Self> {
        let file = fixture("reflow-session.jsonl");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let (mut header, mut templates) = (None, Vec::new());
        for line in text.lines() {
            let mut line: Value = serde_json::from_str(line).context("a line of the recording")?;
            if let Some(event) = line.pointer_mut("/frame/RecordEvent/event") {
                templates.push(serde_json::from_value(event.take()).context("an event of the recording")?);
            } else if let Some(version) = line.pointer_mut("/frame/StartTrace/version") {
                let version = serde_json::from_value(version.take()).context("the version in the recording")?;
                header = Some(FlowTrace::new(FlowId::default(), version));
            }
        }
        ensure!(!templates.is_empty(), "{} holds no events", file.display());
        let header = header.with_context(|| format!("{} starts no trace", file.display()))?;
        Ok(Self { header, templates, elapsed: Duration::ZERO, traces: 0 })
    }

    /// The flow of every [`FLOWS`]th trace, the first one included.
    pub fn flow() -> FlowId {
        flow(0)
    }

    /// A finished trace with this many events.
    pub fn trace(&mut self, events: usize) -> FlowTrace {
        let start_time = self.header.start_time + self.elapsed;
        let events: Vec<_> = (0..events).map(|number| self.event(number)).collect();
        let mut trace = FlowTrace {
            trace_id: TraceId::new(),
            execution_id: ExecutionId::new(),
            flow_id: flow(self.traces),
            start_time,
            end_time: events.last().map(|last| last.timestamp),
            status: ExecutionStatus::Completed,
            events,
            ..self.header.clone()
        };
        trace.metadata.session_id = Some(Uuid::new_v4().to_string());
        trace.metadata.hostname = "127.0.0.1".into();
        self.traces += 1;
        trace
    }

    /// The events of traces with [`EVENTS_A_TRACE`] each.
    pub fn events(&mut self, count: usize) -> Batch {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            let FlowTrace { trace_id, events: of_trace, .. } = self.trace(EVENTS_A_TRACE);
            events.extend(of_trace.into_iter().map(|event| (trace_id, event)));
        }
        events.truncate(count);
        events
    }

    fn event(&mut self, number: usize) -> TraceEvent {
        let mut event = self.templates[number % self.templates.len()].clone();
        let id = EventId::new();
        // Up to a millisecond apart, with the resolution of real clocks.
        self.elapsed += Duration::from_nanos(id.as_uuid().as_u64_pair().1 % 1_000_000);
        event.event_id = id;
        event.timestamp = self.header.start_time + self.elapsed;
        // The client generates a new id for every event.
        event.causality.root_cause_event_id = EventId::new();
        event.causality.span_id = Uuid::new_v4().to_string();
        event
    }
}

fn flow(trace: usize) -> FlowId {
    FlowId::new(format!("network_session_{}", trace % FLOWS))
}

/// In batches of `size`, in order.
pub fn in_batches(events: Batch, size: usize) -> Vec<Batch> {
    let mut events = events.into_iter();
    let mut batches = Vec::new();
    loop {
        let batch: Batch = events.by_ref().take(size).collect();
        if batch.is_empty() {
            return batches;
        }
        batches.push(batch);
    }
}
