//! From the bytes of a message to a request, and the answer to most of them.

use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::message::TracingRequest;

/// The first bytes of compressed data.
const COMPRESSIONS: &[(&str, &[u8])] =
    &[("zstd", &[0x28, 0xb5, 0x2f, 0xfd]), ("gzip", &[0x1f, 0x8b]), ("lz4", &[0x04, 0x22, 0x4d, 0x18])];

/// Parses the request in a message, text or binary. The error says why it is not one.
pub(super) fn decode(message: &[u8]) -> Result<TracingRequest, String> {
    serde_json::from_slice(message).map_err(|error| {
        match COMPRESSIONS.iter().find(|(_, magic)| message.starts_with(magic)) {
            Some((name, _)) => format!("messages compressed with {name} are not supported: send JSON as text"),
            None => format!("the message is not a request: {error}"),
        }
    })
}

/// The text message that says that an event is stored: `TracingResponse::DONE`, encoded.
pub(super) fn stored() -> Message {
    Message::Text(Utf8Bytes::from_static(STORED))
}

const STORED: &str = r#"{"EventRecorded":{"success":true,"error":null}}"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::reflow::message::TracingResponse;

    #[test]
    fn the_answer_to_a_stored_event_is_what_it_would_be_encoded() {
        assert_eq!(STORED, serde_json::to_string(&TracingResponse::DONE).unwrap());
    }

    #[track_caller]
    fn assert_refused(message: &[u8], part: &str) {
        let error = decode(message).unwrap_err();
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }

    #[test]
    fn a_message_that_is_not_a_request_is_refused_with_the_reason() {
        assert_refused(b"hello", "expected value");
        assert_refused(b"\xff\xfe", "expected value");
        assert_refused(br#"{"Foo":{}}"#, "unknown variant `Foo`, expected one of `StartTrace`");
        assert_refused(br#"{"GetTrace":{"trace_id":"7"}}"#, "UUID");
    }

    #[test]
    fn a_compressed_message_is_refused_with_the_remedy() {
        assert_refused(b"\x28\xb5\x2f\xfd\x00", "zstd");
        assert_refused(b"\x1f\x8b\x08", "gzip");
    }
}
