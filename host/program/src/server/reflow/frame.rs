//! From the bytes of a message to a request, and the answer to most of them.

use axum::body::Bytes;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use reflow_tracing_model::{TraceEvent, from_json_with_event};

use super::compression;
use super::message::TracingRequest;

/// A message of this length, also after it was decompressed, is decoded at once. Decoded, it takes some megabytes at most.
const SMALL: usize = 64 * 1024;

/// The longest error about a message, which repeats parts of it.
const MAX_PROBLEM: usize = 1024;

/// A message as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub bytes: Bytes,
    pub is_text: bool,
}

/// The request in a message.
#[derive(Debug)]
pub(super) struct Decoded {
    /// What the request was decoded from.
    pub json: Bytes,
    /// Whether the message was that.
    pub was_compressed: bool,
    /// The error says why it is not a request.
    pub request: Result<TracingRequest, String>,
}

/// Parses the request in a message, which is JSON. The error says why it is not one.
pub(super) fn decode(message: &[u8]) -> Result<TracingRequest, String> {
    from_json_with_event(message, event_of).map_err(|mut error| {
        if error.len() > MAX_PROBLEM {
            error.truncate(error.floor_char_boundary(MAX_PROBLEM));
            error.push_str("..");
        }
        format!("the message is not a request: {error}")
    })
}

fn event_of(request: &TracingRequest) -> Option<&TraceEvent> {
    match request {
        TracingRequest::RecordEvent { event, .. } => Some(event),
        _ => None,
    }
}

/// Parses the request in a small message. Returns `None` if it is large, or expands to much: then it takes a share of the budget.
pub(super) fn decode_small(message: &Encoded) -> Option<Decoded> {
    if message.bytes.len() > SMALL {
        return None;
    }
    let json = message.bytes.clone();
    if message.is_text {
        return Some(Decoded { request: decode(&json), json, was_compressed: false });
    }
    let mut not_json = String::new();
    if !compression::has_magic_number(&json) {
        match decode(&json) {
            Ok(request) => return Some(Decoded { json, was_compressed: false, request: Ok(request) }),
            Err(problem) => not_json = problem,
        }
    }
    match compression::decompress(&json, SMALL) {
        Ok(expanded) => Some(decode_expanded(json, expanded.into(), not_json, decode)),
        Err(problem) if problem.is_too_large => None,
        Err(problem) => Some(not_expanded(json, problem, not_json)),
    }
}

/// What is in a binary message that was not JSON, because `not_json`, and expands to `json`.
pub(super) fn decode_expanded(
    message: Bytes,
    json: Bytes,
    not_json: String,
    decode: impl FnOnce(&[u8]) -> Result<TracingRequest, String>,
) -> Decoded {
    let request = decode(&json);
    // Noise can happen to be compressed data.
    let is_noise = request.is_err() && !compression::has_magic_number(&message);
    let request = request.map_err(|problem| if is_noise { not_json } else { problem });
    Decoded { json, was_compressed: true, request }
}

/// The same for one that does not expand.
pub(super) fn not_expanded(message: Bytes, problem: compression::Problem, not_json: String) -> Decoded {
    let problem = if not_json.is_empty() { problem.text } else { format!("{not_json}; {}", problem.text) };
    Decoded { json: message, was_compressed: false, request: Err(problem) }
}

/// The text message that says that an event is stored: `TracingResponse::DONE`, encoded.
pub(super) fn stored() -> Message {
    Message::Text(Utf8Bytes::from_static(STORED))
}

const STORED: &str = r#"{"EventRecorded":{"success":true,"error":null}}"#;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::server::reflow::large::tests::decode_large;
    use crate::server::reflow::message::TracingResponse;
    use crate::server::reflow::socket::MAX_MESSAGE_BYTES;

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
    fn a_number_that_would_be_changed_is_refused_with_its_path() {
        let event = reflow_tracing::TraceEvent::default();
        let request = TracingRequest::RecordEvent { trace_id: Default::default(), event };
        let request = serde_json::to_string(&request).unwrap();
        let with = |attributes: &str| request.replace("\"custom_attributes\":{}", attributes);
        decode(with(r#""custom_attributes":{"size":0.1}"#).as_bytes()).unwrap();
        for number in ["100000000000000000000000000001", "1e-400", "1e400", "18446744073709551616"] {
            let message = with(&format!(r#""custom_attributes":{{"size":{number}}}"#));
            assert_refused(message.as_bytes(), "RecordEvent.event.data.custom_attributes.size`");
        }
        let message = request.replace("\"queue_depth\":null", "\"queue_depth\":18446744073709551616");
        assert_refused(message.as_bytes(), "RecordEvent.event.data.performance_metrics.queue_depth`");
        assert_refused(br#"{"QueryTraces":{"request_id":18446744073709551616}}"#, "QueryTraces.request_id`");
    }

    /// What was decompressed, if something was, and the request in a binary message.
    async fn decode_binary(message: &[u8]) -> (Option<Bytes>, Result<TracingRequest, String>) {
        let message = Encoded { bytes: Bytes::copy_from_slice(message), is_text: false };
        let Decoded { json, was_compressed, request } = match decode_small(&message) {
            Some(decoded) => decoded,
            None => decode_large(message).await,
        };
        (was_compressed.then_some(json), request)
    }

    /// A request, and what each compression makes of it.
    fn compressed(json: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(json).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(json).unwrap();
        let mut brotli = Vec::new();
        brotli::BrotliCompress(&mut &json[..], &mut brotli, &brotli::enc::BrotliEncoderParams::default()).unwrap();
        vec![
            ("zstd", zstd::encode_all(json, 3).unwrap()),
            ("gzip", gzip.finish().unwrap()),
            ("lz4", lz4.finish().unwrap()),
            ("block of lz4", lz4_flex::block::compress_prepend_size(json)),
            ("brotli", brotli),
        ]
    }

    #[tokio::test]
    async fn a_compressed_request_is_that_request() {
        // Whatever the length is: it is the first byte of a block.
        for length in (1..300).chain([70_000]) {
            let json = format!(r#"{{"GetFlowVersions":{{"flow_id":"{}"}}}}"#, "x".repeat(length));
            for (name, message) in compressed(json.as_bytes()) {
                let (expanded, request) = decode_binary(&message).await;
                assert_eq!(request.unwrap(), decode(json.as_bytes()).unwrap(), "{name}");
                assert_eq!(expanded.unwrap(), json, "{name}");
            }
            let (expanded, request) = decode_binary(json.as_bytes()).await;
            assert_eq!((expanded, request.is_ok()), (None, true));
        }
    }

    #[tokio::test]
    async fn a_message_that_expands_to_more_than_the_limit_is_refused() {
        let zeros = vec![b' '; 2 * MAX_MESSAGE_BYTES];
        for (name, message) in compressed(&zeros) {
            let (expanded, request) = decode_binary(&message).await;
            let error = request.unwrap_err();
            assert_eq!(expanded, None, "{name}");
            if name == "block of lz4" {
                assert!(error.contains("lz4"), "{error}");
            } else {
                assert!(error.contains(name) && error.contains("more than 16 MiB"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_damaged_message_is_refused_with_the_reason() {
        for (name, mut message) in compressed(&br#"{"GetFlowVersions":{"flow_id":"f"}}"#.repeat(50)) {
            message.truncate(message.len() / 2);
            let error = decode_binary(&message).await.1.unwrap_err();
            let part = if name.starts_with("block") || name == "brotli" { "not a request" } else { name };
            assert!(error.contains(part), "{name}: {error}");
        }
        let error = decode_binary(b"hello").await.1.unwrap_err();
        assert!(error.contains("expected value") && error.contains("zstd, gzip, lz4 or brotli"), "{error}");
        // The window of a brotli that no standard allows: 1 GiB.
        assert!(decode_binary(b"\x11\x1e\x00\x03").await.1.is_err());
    }
}
