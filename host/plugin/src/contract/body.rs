//! The lossless encoding of headers and events: the `body` that plugins store and return.
//!
//! The first byte is the version, the rest is the value in postcard's format (<https://postcard.jamesmunns.com>). It is
//! several times smaller and faster to read than JSON. Changing the model's fields or cases needs a new version, and the
//! decoder must keep reading the older ones.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use reflow_tracing_model::{FlowTrace, TraceEvent};

const VERSION: u8 = 1;

/// Initial capacity: enough for most events.
const USUAL_BYTES: usize = 256;

/// The bytes are not a body, or a body of a newer version.
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

/// A value with a body: a trace without events (its header), or an event.
pub(crate) trait Body: Serialize + DeserializeOwned {}

impl Body for FlowTrace {}

impl Body for TraceEvent {}

pub(crate) fn encode(value: &impl Body) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    append(value, &mut bytes);
    bytes
}

/// Appends the body of `value` to `bytes`.
pub(crate) fn append(value: &impl Body, bytes: &mut Vec<u8>) {
    bytes.push(VERSION);
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

pub(crate) fn decode<T: Body>(body: &[u8]) -> Result<T, DecodeError> {
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
