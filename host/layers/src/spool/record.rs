//! A write in the spool's file, encoded with postcard. The version of the file is that of the encoding.

use std::sync::Arc;

use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};

/// A waiting write: traces, possibly with events, and further events.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub traces: Vec<FlowTrace>,
    pub events: Vec<(TraceId, TraceEvent)>,
}

/// An encoded record.
#[derive(Clone)]
pub(super) struct Encoded {
    pub traces: Vec<TraceId>,
    pub events: u64,
    pub body: Arc<[u8]>,
}

impl Encoded {
    pub(super) fn new(traces: &[FlowTrace], events: &[(TraceId, TraceEvent)]) -> Self {
        let body = postcard::to_stdvec(&(traces, events));
        let in_traces: usize = traces.iter().map(|trace| trace.events.len()).sum();
        Self {
            traces: traces.iter().map(|trace| trace.trace_id).collect(),
            events: (events.len() + in_traces) as u64,
            body: body.expect("a Vec grows, and every type of the model knows its length").into(),
        }
    }
}

/// The size of a body in the file in KiB.
pub(super) fn kib(body: &[u8]) -> u32 {
    u32::try_from(body.len() / 1024).unwrap_or(u32::MAX).saturating_add(1)
}

pub(super) fn decode(body: &[u8]) -> Result<Record, postcard::Error> {
    let (traces, events) = postcard::from_bytes(body)?;
    Ok(Record { traces, events })
}

/// The traces of a record, without its events.
pub(super) fn decode_traces(body: &[u8]) -> Result<Vec<FlowTrace>, postcard::Error> {
    Ok(postcard::take_from_bytes(body)?.0)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use reflow_tracing_model::{EventId, ExecutionId};
    use uuid::Uuid;

    use super::*;

    /// A record written by version 1.
    const GOLDEN: &str = include_str!("golden/record.v1.hex");

    fn sample() -> Record {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let mut event = TraceEvent {
            event_id: EventId(id),
            timestamp: DateTime::from_timestamp_nanos(1_750_000_000_123_456_789),
            actor_id: "a\0b".into(),
            ..TraceEvent::default()
        };
        event.causality.root_cause_event_id = EventId(id);
        event.data.custom_attributes.insert("n".into(), serde_json::json!([1, null]));
        let mut trace = FlowTrace { trace_id: TraceId(id), execution_id: ExecutionId(id), ..FlowTrace::default() };
        (trace.start_time, trace.version.timestamp) = (event.timestamp, event.timestamp);
        Record { traces: vec![FlowTrace { events: vec![event.clone()], ..trace }], events: vec![(TraceId(id), event)] }
    }

    #[test]
    fn a_record_of_an_earlier_program_stays_readable() {
        let Record { traces, events } = sample();
        let encoded = Encoded::new(&traces, &events);
        let hex: String = encoded.body.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.trim(), "the encoding has changed: it is a new version of the file");
        assert_eq!(decode(&encoded.body).unwrap(), sample());
        assert_eq!(decode_traces(&encoded.body).unwrap(), sample().traces);
        assert_eq!((encoded.traces.len(), encoded.events), (1, 2));
    }
}
