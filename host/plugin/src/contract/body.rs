//! The lossless encoding of headers and events: the `body` that plugins store and return.
//!
//! The first byte is the version, the rest is the value in postcard's format (<https://postcard.jamesmunns.com>). It is
//! several times smaller and faster to read than JSON. Changing the model's fields or cases needs a new version, and the
//! decoder must keep reading the older ones.
//!
//! Version 1 has the fields of the first version of the model. Version 2 has the [`Additions`] after them, and is written
//! only where there are some.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use reflow_tracing_model::{Additions, FlowTrace, TraceEvent};

const FIRST_VERSION: u8 = 1;
const WITH_ADDITIONS: u8 = 2;

/// Initial capacity: enough for most events.
const USUAL_BYTES: usize = 256;

/// The bytes are not a body, or a body of a newer version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("an empty body")]
    Empty,
    #[error("a body of version {0}; this program reads up to version {WITH_ADDITIONS}: was it written by a newer one?")]
    Version(u8),
    #[error("a damaged body: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("a damaged body: {0} bytes follow its end")]
    Trailing(usize),
    #[error("a damaged body: {0}")]
    Additions(String),
}

/// The body of a trace's header: the trace without its events.
pub(crate) fn encode_header(trace: &FlowTrace) -> Vec<u8> {
    debug_assert!(trace.events.is_empty(), "events are stored separately");
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    append(trace, trace.additions(), &mut bytes);
    bytes
}

pub(crate) fn decode_header(body: &[u8]) -> Result<FlowTrace, DecodeError> {
    decode(body, FlowTrace::add)
}

pub(crate) fn encode_event(event: &TraceEvent) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    append_event(event, &mut bytes);
    bytes
}

pub(crate) fn decode_event(body: &[u8]) -> Result<TraceEvent, DecodeError> {
    decode(body, TraceEvent::add)
}

/// Appends the body of an event to `bytes`.
pub(crate) fn append_event(event: &TraceEvent, bytes: &mut Vec<u8>) {
    append(event, event.additions(), bytes);
}

fn append(value: &impl Serialize, additions: Additions, bytes: &mut Vec<u8>) {
    bytes.push(if additions.is_empty() { FIRST_VERSION } else { WITH_ADDITIONS });
    append_postcard(value, bytes);
    if !additions.is_empty() {
        append_postcard(&additions, bytes);
    }
}

fn append_postcard(value: &impl Serialize, bytes: &mut Vec<u8>) {
    postcard::serialize_with_flavor(value, Append(bytes))
        .expect("a Vec grows, and every type of the model knows its length");
}

/// Appends to a `Vec`. Postcard's own flavor for a `Vec` creates a new one.
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

fn decode<T: DeserializeOwned>(
    body: &[u8],
    add: fn(&mut T, &Additions) -> Result<(), String>,
) -> Result<T, DecodeError> {
    let (value, rest) = match body {
        [] => return Err(DecodeError::Empty),
        [FIRST_VERSION, rest @ ..] => postcard::take_from_bytes(rest)?,
        [WITH_ADDITIONS, rest @ ..] => {
            let (mut value, rest) = postcard::take_from_bytes(rest)?;
            let (additions, rest) = postcard::take_from_bytes(rest)?;
            add(&mut value, &additions).map_err(DecodeError::Additions)?;
            (value, rest)
        }
        [version, ..] => return Err(DecodeError::Version(*version)),
    };
    match rest {
        [] => Ok(value),
        trailing => Err(DecodeError::Trailing(trailing.len())),
    }
}

#[cfg(test)]
mod tests;
