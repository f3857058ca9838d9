//! Digests, to compare the contents of stores and streams.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

use reflow_tracing_model::{Additions, FlowTrace, TraceEvent, TraceId};
use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_128;

/// Counts of traces and events, and a checksum that does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Traces with a header.
    pub traces: u64,
    /// Traces without a header.
    pub headerless: u64,
    /// Events of both.
    pub events: u64,
    /// The total size of headers and events in a compact binary encoding, in bytes.
    pub bytes: u64,
    /// Equal for equal traces and events, regardless of backend and order.
    pub checksum: Checksum,
}

impl Add for Digest {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            traces: self.traces + other.traces,
            headerless: self.headerless + other.headerless,
            events: self.events + other.events,
            bytes: self.bytes + other.bytes,
            checksum: Checksum(self.checksum.0.wrapping_add(other.checksum.0)),
        }
    }
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The sum of the hashes (XXH3, 128 bits) of headers and events. Detects accidents, not attacks.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Checksum(u128);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match u128::from_str_radix(text, 16) {
            Ok(sum) if text.len() == 32 => Ok(Self(sum)),
            _ => Err(format!("{text:?} is not a checksum: expected 32 hexadecimal digits")),
        }
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] from headers and events.
#[derive(Default)]
pub(crate) struct Digester {
    pub digest: Digest,
    /// A reused buffer for encoded values.
    encoded: Vec<u8>,
}

impl Digester {
    pub(crate) fn header(&mut self, header: &FlowTrace) {
        self.add(b'h', header.trace_id, header, &header.additions());
        self.digest.traces += 1;
    }

    pub(crate) fn headerless(&mut self, trace_id: TraceId) {
        self.add(b'-', trace_id, &(), &Additions::default());
        self.digest.headerless += 1;
    }

    pub(crate) fn events(&mut self, trace_id: TraceId, events: &[TraceEvent]) {
        for event in events {
            self.add(b'e', trace_id, event, &event.additions());
        }
        self.digest.events += events.len() as u64;
    }

    fn add(&mut self, kind: u8, trace_id: TraceId, value: &impl Serialize, additions: &Additions) {
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        encoded.push(kind);
        encoded.extend_from_slice(trace_id.0.as_bytes());
        let before = encoded.len();
        const WRITES: &str = "a Vec grows, and every type of the model knows its length";
        let mut encoded = postcard::to_extend(value, encoded).expect(WRITES);
        // The digests of what has none are those of the first version of the model.
        if !additions.is_empty() {
            encoded = postcard::to_extend(additions, encoded).expect(WRITES);
        }
        self.digest.bytes += (encoded.len() - before) as u64;
        self.digest.checksum.0 = self.digest.checksum.0.wrapping_add(xxh3_128(&encoded));
        self.encoded = encoded;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reflow_tracing_model::{FlowId, FlowVersion};

    fn trace(flow: &str) -> FlowTrace {
        FlowTrace::new(FlowId::new(flow), FlowVersion::default())
    }

    fn measured(traces: &[(&FlowTrace, &[TraceEvent])]) -> Digest {
        let mut digester = Digester::default();
        for (header, events) in traces {
            digester.header(header);
            digester.events(header.trace_id, events);
        }
        digester.digest
    }

    #[test]
    fn a_digest_depends_on_everything_but_the_order() {
        let (a, b) = (trace("a"), trace("b"));
        let events = [TraceEvent::default(), TraceEvent::default()];
        let swapped = [events[1].clone(), events[0].clone()];
        let digest = measured(&[(&a, &events), (&b, &[])]);
        assert_eq!(digest, measured(&[(&b, &[]), (&a, &swapped)]));
        assert_eq!((digest.traces, digest.events), (2, 2));
        for other in [
            measured(&[(&a, &events)]),
            measured(&[(&a, &events), (&b, &[]), (&b, &[])]),
            measured(&[(&a, &[]), (&b, &events)]),
            measured(&[(&a, &[events[0].clone(), events[0].clone()]), (&b, &[])]),
            measured(&[(&trace("c"), &events), (&b, &[])]),
        ] {
            assert_ne!(digest.checksum, other.checksum);
        }
    }

    #[test]
    fn unmeasured_metrics_and_unknown_fields_change_the_checksum() {
        let trace = trace("a");
        let digest = |event: &TraceEvent| measured(&[(&trace, std::slice::from_ref(event))]).checksum;
        let mut event = TraceEvent::default();
        let before = digest(&event);
        event.data.performance_metrics.queue_depth = Some(0);
        let measured = digest(&event);
        event.data.more.insert("note", "x".into());
        let with_more = digest(&event);
        assert!(before != measured && measured != with_more && before != with_more);
    }

    #[test]
    fn a_checksum_is_read_as_it_was_written() {
        let digest = measured(&[(&trace("a"), &[TraceEvent::default()])]);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!("12".parse::<Checksum>().is_err());
    }
}
