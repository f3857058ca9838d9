//! From the bytes of a message to a request, and from an answer to a message.

use axum::extract::ws::{Message, Utf8Bytes};
use serde::Serialize;

use reflow_tracing_model::{TraceEvent, from_json_with_event};

use super::message::TracingRequest;

/// The first bytes of compressed data.
const COMPRESSIONS: &[(&str, &[u8])] =
    &[("zstd", &[0x28, 0xb5, 0x2f, 0xfd]), ("gzip", &[0x1f, 0x8b]), ("lz4", &[0x04, 0x22, 0x4d, 0x18])];

/// Parses the request in a message, text or binary. The error says why it is not one.
pub(super) fn decode(message: &[u8]) -> Result<TracingRequest, String> {
    from_json_with_event(message, event_of).map_err(|error| {
        match COMPRESSIONS.iter().find(|(_, magic)| message.starts_with(magic)) {
            Some((name, _)) => format!("messages compressed with {name} are not supported: send JSON as text"),
            None => format!("the message is not a request: {error}"),
        }
    })
}

fn event_of(request: &TracingRequest) -> Option<&TraceEvent> {
    match request {
        TracingRequest::RecordEvent { event, .. } => Some(event),
        _ => None,
    }
}

/// The text message that holds `answer`.
pub(super) fn encode(answer: &impl Serialize) -> Message {
    let json = serde_json::to_string(answer).expect("answers are plain data whose maps have text keys");
    Message::Text(json.into())
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
        assert_eq!(stored(), encode(&TracingResponse::DONE));
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

    #[test]
    fn a_compressed_message_is_refused_with_the_remedy() {
        assert_refused(b"\x28\xb5\x2f\xfd\x00", "zstd");
        assert_refused(b"\x1f\x8b\x08", "gzip");
    }
}
