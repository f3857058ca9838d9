//! The lossless encoding of headers and events: the `body` that plugins store and return.
//!
//! The first byte is the version, the rest is the value in postcard's format (<https://postcard.jamesmunns.com>). It is
//! several times smaller and faster to read than JSON. Changing the model's fields or cases needs a new version, and the
//! decoder must keep reading the older ones.
//!
//! Version 1 has the fields of the first version of the model. Version 2 has the [`Additions`] after them, and is written
//! only if there are some.

mod weight;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use reflow_tracing_model::{Additions, FlowTrace, TraceEvent};

use super::budget::{Budget, OverBudget};
pub(crate) use weight::free_form_bytes;
use weight::{SMALL, Weigh};

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
    #[error("a body of {bytes} bytes: {error}")]
    TooLarge { bytes: usize, error: OverBudget },
}

/// A value with a body: a trace without events (its header), or an event.
pub(crate) trait Body: Serialize + DeserializeOwned + Weigh {
    /// What the value has beyond the first version of the model.
    fn additions(&self) -> Additions;

    /// Restores that.
    fn add(&mut self, additions: &Additions) -> Result<(), String>;
}

macro_rules! body {
    ($type:ty) => {
        impl Body for $type {
            fn additions(&self) -> Additions {
                self.additions()
            }

            fn add(&mut self, additions: &Additions) -> Result<(), String> {
                self.add(additions)
            }
        }
    };
}

body!(FlowTrace);
body!(TraceEvent);

pub(crate) fn encode(value: &impl Body) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    append(value, &mut bytes);
    bytes
}

/// Appends the body of `value` to `bytes`.
pub(crate) fn append(value: &impl Body, bytes: &mut Vec<u8>) {
    let additions = value.additions();
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

/// Decodes a body if the value does not take more memory than is left of `budget`, from which nothing is taken.
pub(crate) fn decode_within<T: Body>(body: &[u8], budget: &Budget) -> Result<T, DecodeError> {
    if body.len() > SMALL && T::weigh_body(body) > budget.left() {
        return Err(DecodeError::TooLarge { bytes: body.len(), error: budget.over() });
    }
    decode(body)
}

/// Fails when the event or the header that `json` is takes more memory than is left of `budget`.
pub(crate) fn check_weight(json: &[u8], budget: &Budget) -> Result<(), OverBudget> {
    if json.len() > SMALL && weight::weigh_event_json(json) > budget.left() { Err(budget.over()) } else { Ok(()) }
}

pub(crate) fn decode<T: Body>(body: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = match body {
        [] => return Err(DecodeError::Empty),
        [FIRST_VERSION, rest @ ..] => postcard::take_from_bytes(rest)?,
        [WITH_ADDITIONS, rest @ ..] => {
            let (mut value, rest): (T, _) = postcard::take_from_bytes(rest)?;
            let (additions, rest) = postcard::take_from_bytes(rest)?;
            value.add(&additions).map_err(DecodeError::Additions)?;
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
