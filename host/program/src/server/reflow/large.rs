//! Decodes messages that may take much memory, once they have a share of the budget.

use axum::body::Bytes;

use super::compression::{self, Problem};
use super::frame::{self, Decoded, Encoded};
use super::message::TracingRequest;
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
    Done(Decoded),
}

/// Text that may be a request.
pub(super) struct Parsable {
    message: Encoded,
    /// What the message expands to, and why it is not a request itself.
    expanded: Option<(Bytes, String)>,
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
        Self::Decode(Parsable { message, expanded: None })
    }

    /// The memory that it takes, at most.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Decode(parsable) => parsable.json().len() + parsable.decoded_bytes().min(MAX_DECODED_BYTES),
            Self::Decompress(compressed) => compressed.message.bytes.len() + DECOMPRESSION_BYTES,
            Self::Done(_) => 0,
        }
    }

    /// Does it.
    pub(super) async fn run(self) -> Self {
        match self {
            Self::Decode(parsable) => parsable.decode(),
            Self::Decompress(Compressed { message, not_json }) => {
                let bytes = message.bytes.clone();
                // It must not hold up other connections.
                let expanded =
                    tokio::task::spawn_blocking(move || compression::decompress(&bytes, MAX_MESSAGE_BYTES)).await;
                let expanded = expanded.unwrap_or_else(|error| {
                    let text = format!("the message can't be decompressed: {error}");
                    Err(Problem { is_too_large: false, text })
                });
                match expanded {
                    Ok(json) => {
                        Self::Decode(Parsable { message, expanded: Some((Bytes::from(json), not_json)) })
                    }
                    Err(problem) => {
                        let not_expanded = |_: &[u8]| unreachable!("there is nothing to decode");
                        Self::Done(frame::decode_expanded(message.bytes, Err(problem), not_json, not_expanded))
                    }
                }
            }
            done @ Self::Done(_) => done,
        }
    }
}

impl Parsable {
    fn json(&self) -> &Bytes {
        self.expanded.as_ref().map_or(&self.message.bytes, |(json, _)| json)
    }

    fn decoded_bytes(&self) -> usize {
        max_decoded_bytes(self.json())
    }

    fn decode(self) -> Step {
        let Self { message: Encoded { bytes, is_text }, expanded } = self;
        match expanded {
            Some((json, not_json)) => Step::Done(frame::decode_expanded(bytes, Ok(json), not_json, decode)),
            None => match decode(&bytes) {
                Err(not_json) if !is_text => {
                    Step::Decompress(Compressed { message: Encoded { bytes, is_text }, not_json })
                }
                request => Step::Done(Decoded { json: bytes, was_compressed: false, request }),
            },
        }
    }
}

fn decode(json: &[u8]) -> Result<TracingRequest, String> {
    let bytes = max_decoded_bytes(json);
    if bytes > MAX_DECODED_BYTES {
        return Err(format!(
            "the message may take {} MiB of memory once it is decoded, because it has many small values; a message may take {} \
             MiB: send it in parts",
            bytes >> 20,
            MAX_DECODED_BYTES >> 20
        ));
    }
    frame::decode(json)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::server::reflow) async fn decode_large(message: Encoded) -> Decoded {
        let mut step = Step::first(message);
        loop {
            step = match step {
                Step::Done(decoded) => return decoded,
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
