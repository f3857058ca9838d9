//! A write in the spool's file, encoded with postcard: traces, events, and since version 2 of the file what both have beyond
//! the first version of the model.

use std::sync::Arc;

use reflow_tracing_model::{Additions, FlowTrace, TraceEvent, TraceId};

/// A waiting write: traces, possibly with events, and further events.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub traces: Vec<FlowTrace>,
    pub events: Vec<(TraceId, TraceEvent)>,
}

/// An encoded record.
#[derive(Clone)]
pub(crate) struct Encoded {
    pub traces: Vec<TraceId>,
    pub events: u64,
    pub body: Arc<[u8]>,
}

impl Encoded {
    pub(crate) fn new(traces: &[FlowTrace], events: &[(TraceId, TraceEvent)]) -> Self {
        // In the order of `Record::parts`.
        let parts = traces
            .iter()
            .flat_map(|trace| std::iter::once(trace.additions()).chain(trace.events.iter().map(TraceEvent::additions)));
        let parts = parts.chain(events.iter().map(|(_, event)| event.additions()));
        let additions = (0..).zip(parts).filter(|(_, additions)| !additions.is_empty());
        let additions: Vec<(u64, Additions)> = additions.collect();
        let body = postcard::to_stdvec(&(traces, events, additions));
        let in_traces: usize = traces.iter().map(|trace| trace.events.len()).sum();
        Self {
            traces: traces.iter().map(|trace| trace.trace_id).collect(),
            events: (events.len() + in_traces) as u64,
            body: body.expect("a Vec grows, and every type of the model knows its length").into(),
        }
    }
}

/// The size of a body in the file in KiB.
pub(crate) fn kib(body: &[u8]) -> u32 {
    u32::try_from(body.len() / 1024).unwrap_or(u32::MAX).saturating_add(1)
}

pub(crate) fn decode(body: &[u8]) -> Result<Record, String> {
    let ((traces, events), additions) = postcard::take_from_bytes(body).map_err(|error| error.to_string())?;
    let mut record = Record { traces, events };
    // A record of version 1 ends here.
    if !additions.is_empty() {
        record.add(postcard::from_bytes(additions).map_err(|error| error.to_string())?)?;
    }
    Ok(record)
}

impl Record {
    /// Restores the additions of those headers and events that have some, by their position.
    fn add(&mut self, additions: Vec<(u64, Additions)>) -> Result<(), String> {
        let mut additions = additions.into_iter().peekable();
        let mut position = 0;
        let mut next = || {
            let of_this = additions.next_if(|(of, _)| *of == position);
            position += 1;
            of_this.map(|(_, additions)| additions)
        };
        for trace in &mut self.traces {
            next().map_or(Ok(()), |additions| trace.add(&additions))?;
            for event in &mut trace.events {
                next().map_or(Ok(()), |additions| event.add(&additions))?;
            }
        }
        for (_, event) in &mut self.events {
            next().map_or(Ok(()), |additions| event.add(&additions))?;
        }
        match additions.next() {
            None => Ok(()),
            Some((position, _)) => Err(format!("header or event {position} has additional fields, but is missing")),
        }
    }
}

/// The traces of a record, without its further events.
pub(crate) fn decode_traces(body: &[u8]) -> Result<Vec<FlowTrace>, String> {
    Ok(decode(body)?.traces)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use reflow_tracing_model::{EventId, ExecutionId, PerformanceMetrics};
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
        event.data.performance_metrics = PerformanceMetrics::ZERO;
        let mut trace = FlowTrace { trace_id: TraceId(id), execution_id: ExecutionId(id), ..FlowTrace::default() };
        (trace.start_time, trace.version.timestamp) = (event.timestamp, event.timestamp);
        Record { traces: vec![FlowTrace { events: vec![event.clone()], ..trace }], events: vec![(TraceId(id), event)] }
    }

    fn from_hex(hex: &str) -> Vec<u8> {
        let digits = hex.trim().as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn a_record_of_version_1_stays_readable() {
        assert_eq!(decode(&from_hex(GOLDEN)).unwrap(), sample());
    }

    #[test]
    fn a_record_is_version_1_and_the_additions() {
        let Record { traces, events } = sample();
        let encoded = Encoded::new(&traces, &events);
        let hex: String = encoded.body.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, format!("{}00", GOLDEN.trim()), "the encoding has changed: it is a new version of the file");
        assert_eq!(decode_traces(&encoded.body).unwrap(), sample().traces);
        assert_eq!((encoded.traces.len(), encoded.events), (1, 2));
    }

    #[test]
    fn additional_fields_and_unmeasured_metrics_are_kept() {
        let Record { mut traces, mut events } = sample();
        traces.push(FlowTrace::default());
        traces[1].metadata.more.insert("region", "north".into());
        traces[0].events[0].data.performance_metrics.queue_depth = None;
        events[0].1.more.insert("sequence", 7.into());
        let encoded = Encoded::new(&traces, &events);
        assert_eq!(decode(&encoded.body).unwrap(), Record { traces, events });
    }
}
