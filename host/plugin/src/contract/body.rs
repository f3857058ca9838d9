//! The store's own lossless encoding of headers and events: the `body` that backends keep and give back.
//!
//! One byte names the version, the rest is the value in postcard's format (<https://postcard.jamesmunns.com>). It is
//! several times smaller and faster to read than JSON. A change of the model's fields or cases is a new version, whose
//! decoder keeps reading the older ones.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use reflow_tracing_model::{FlowTrace, TraceEvent};

const VERSION: u8 = 1;

/// Room for the body of most events, so that it does not grow byte by byte.
const USUAL_BYTES: usize = 256;

/// Bytes that are no body, or one from a newer version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("an empty body")]
    Empty,
    #[error("a body of version {0}; this program reads version {VERSION}: was it written by a newer one?")]
    Version(u8),
    #[error("a damaged body: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("a damaged body: {0} bytes follow its end")]
    Trailing(usize),
}

/// The body of a trace's header: the trace without its events.
pub(crate) fn encode_header(trace: &FlowTrace) -> Vec<u8> {
    debug_assert!(trace.events.is_empty(), "events are stored apart");
    encode(trace)
}

pub(crate) fn decode_header(body: &[u8]) -> Result<FlowTrace, DecodeError> {
    decode(body)
}

pub(crate) fn encode_event(event: &TraceEvent) -> Vec<u8> {
    encode(event)
}

pub(crate) fn decode_event(body: &[u8]) -> Result<TraceEvent, DecodeError> {
    decode(body)
}

/// The same, after what `bytes` holds.
pub(crate) fn append_event(event: &TraceEvent, bytes: &mut Vec<u8>) {
    append(event, bytes);
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    append(value, &mut bytes);
    bytes
}

fn append(value: &impl Serialize, bytes: &mut Vec<u8>) {
    bytes.push(VERSION);
    postcard::serialize_with_flavor(value, Append(bytes))
        .expect("a Vec grows, and every type of the model knows its length");
}

/// Where postcard writes: behind what is there. Its own flavor for a `Vec` makes a new one.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    match body {
        [] => Err(DecodeError::Empty),
        [VERSION, rest @ ..] => match postcard::take_from_bytes(rest)? {
            (value, []) => Ok(value),
            (_, trailing) => Err(DecodeError::Trailing(trailing.len())),
        },
        [version, ..] => Err(DecodeError::Version(*version)),
    }
}

#[cfg(test)]
mod tests;
