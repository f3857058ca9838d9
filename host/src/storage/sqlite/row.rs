//! Traces and events as the rows of their tables, encoded before they reach the writer.

use crate::model::{FlowTrace, TraceEvent, TraceId, encoding, time};
use crate::storage::StorageError;

pub(super) struct TraceRow {
    pub trace_id: [u8; 16],
    pub flow_id: String,
    pub execution_id: [u8; 16],
    pub start_time: i64,
    pub end_time: Option<i64>,
    pub status: &'static str,
    pub error: Option<String>,
    pub tags: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub(super) struct EventRow {
    pub trace_id: [u8; 16],
    pub event_id: [u8; 16],
    pub timestamp: i64,
    pub kind: &'static str,
    pub actor: String,
    pub error: Option<String>,
    pub body: Vec<u8>,
}

impl TraceRow {
    /// The row of a header. `header` holds no events.
    pub(super) fn new(header: FlowTrace) -> Self {
        Self {
            body: encoding::encode_header(&header),
            trace_id: header.trace_id.0.into_bytes(),
            flow_id: header.flow_id.0,
            execution_id: header.execution_id.0.into_bytes(),
            start_time: time::nanos(header.start_time),
            end_time: header.end_time.map(time::nanos),
            status: header.status.name(),
            error: header.status.error().map(str::to_owned),
            tags: header.metadata.tags.into_iter().collect(),
        }
    }
}

impl EventRow {
    pub(super) fn new(trace_id: TraceId, event: TraceEvent) -> Self {
        Self {
            trace_id: trace_id.0.into_bytes(),
            event_id: event.event_id.0.into_bytes(),
            timestamp: time::nanos(event.timestamp),
            kind: event.event_type.kind().name(),
            body: encoding::encode_event(&event),
            actor: event.actor_id,
            error: event.data.error,
        }
    }
}

/// The rows of traces that are complete with their events. Fails, before anything is written, on what can't be stored.
pub(super) fn rows(traces: Vec<FlowTrace>) -> Result<(Vec<TraceRow>, Vec<EventRow>), StorageError> {
    traces.iter().try_for_each(FlowTrace::validate)?;
    let mut headers = Vec::with_capacity(traces.len());
    let mut events = Vec::new();
    for mut trace in traces {
        let trace_id = trace.trace_id;
        events.extend(std::mem::take(&mut trace.events).into_iter().map(|event| EventRow::new(trace_id, event)));
        headers.push(TraceRow::new(trace));
    }
    Ok((headers, events))
}
