//! Decodes messages that may take much memory, once they have a share of the budget.

use axum::body::Bytes;

use super::compression;
use super::frame::{self, Decoded, Encoded};
use super::socket::MAX_MESSAGE_BYTES;
use reflow_tracing_model::max_decoded_bytes;

/// The memory that a request may take, however it is made.
const MAX_DECODED_BYTES: usize = 256 * 1024 * 1024;

/// What decompressing takes: what the message expands to, and a window as large.
const DECOMPRESSION_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// The next step of decoding a large message: each needs more memory.
pub(super) enum Step {
    /// Decode what the message is, or expands to.
    Decode(Parsable),
    /// Decompress the message.
    Decompress(Compressed),
    /// There is no further one.
    Done(Box<Decoded>),
}

/// Text that may be a request.
pub(super) struct Parsable {
    message: Encoded,
    /// What the message expands to, and why it is not a request itself.
    expanded: Option<(Bytes, String)>,
    decoded_bytes: usize,
}

/// A message that is not JSON, and why.
pub(super) struct Compressed {
    message: Encoded,
    not_json: String,
}

impl Step {
    /// The first step.
    pub(super) fn first(message: Encoded) -> Self {
        if !message.is_text && compression::has_magic_number(&message.bytes) {
            return Self::Decompress(Compressed { message, not_json: String::new() });
        }
        Self::Decode(Parsable::new(message, None))
    }

    /// The memory that it takes, at most.
    pub(super) fn bytes(&self) -> usize {
        match self {
            // It is refused.
            Self::Decode(parsable) if parsable.decoded_bytes > MAX_DECODED_BYTES => 0,
            Self::Decode(parsable) => parsable.json().len() + parsable.decoded_bytes,
            Self::Decompress(compressed) => compressed.message.bytes.len() + DECOMPRESSION_BYTES,
            Self::Done(_) => 0,
        }
    }

    /// Does it, on another thread, so that it does not hold up other connections.
    pub(super) async fn run(self) -> Self {
        let done = tokio::task::spawn_blocking(move || match self {
            Self::Decode(parsable) => parsable.decode(),
            Self::Decompress(compressed) => compressed.decompress(),
            done @ Self::Done(_) => done,
        });
        done.await.unwrap_or_else(|error| {
            let request = Err(format!("the message can't be decoded: {error}"));
            Self::Done(Box::new(Decoded { json: Bytes::new(), was_compressed: false, request }))
        })
    }
}

impl Parsable {
    fn new(message: Encoded, expanded: Option<(Bytes, String)>) -> Self {
        let json = expanded.as_ref().map_or(&message.bytes, |(json, _)| json);
        let decoded_bytes = max_decoded_bytes(json);
        Self { message, expanded, decoded_bytes }
    }

    fn json(&self) -> &Bytes {
        self.expanded.as_ref().map_or(&self.message.bytes, |(json, _)| json)
    }

    fn decode(self) -> Step {
        let Self { message: Encoded { bytes, is_text }, expanded, decoded_bytes } = self;
        let decode = |json: &[u8]| {
            if decoded_bytes > MAX_DECODED_BYTES { Err(too_large(decoded_bytes)) } else { frame::decode(json) }
        };
        match expanded {
            Some((json, not_json)) => Step::Done(Box::new(frame::decode_expanded(bytes, json, not_json, decode))),
            None => match decode(&bytes) {
                Err(not_json) if !is_text => {
                    Step::Decompress(Compressed { message: Encoded { bytes, is_text }, not_json })
                }
                request => Step::Done(Box::new(Decoded { json: bytes, was_compressed: false, request })),
            },
        }
    }
}

impl Compressed {
    fn decompress(self) -> Step {
        let Self { message, not_json } = self;
        match compression::decompress(&message.bytes, MAX_MESSAGE_BYTES) {
            Ok(json) => Step::Decode(Parsable::new(message, Some((json.into(), not_json)))),
            Err(problem) => Step::Done(Box::new(frame::not_expanded(message.bytes, problem, not_json))),
        }
    }
}

fn too_large(bytes: usize) -> String {
    format!(
        "the message may take {} MiB of memory once it is decoded, because it has many small values; a message may take {} MiB: send \
         it in parts",
        bytes >> 20,
        MAX_DECODED_BYTES >> 20
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::server::reflow) async fn decode_large(message: Encoded) -> Decoded {
        let mut step = Step::first(message);
        loop {
            step = match step {
                Step::Done(decoded) => return *decoded,
                step => step.run().await,
            };
        }
    }

    #[tokio::test]
    async fn a_message_that_would_take_much_more_memory_than_its_length_is_refused() {
        let values = vec![r#"{"":0}"#; 1 << 20].join(",");
        let json = format!(r#"{{"GetTrace":{{"trace_id":"{}","request_id":[{values}]}}}}"#, uuid::Uuid::nil());
        let compressed = zstd::encode_all(json.as_bytes(), 3).unwrap();
        for (bytes, is_text) in [(json.clone().into(), true), (json.into(), false), (compressed.into(), false)] {
            let problem = decode_large(Encoded { bytes, is_text }).await.request.unwrap_err();
            assert!(problem.contains("MiB of memory") && problem.contains("256 MiB"), "{problem}");
        }
    }
}
