//! How much memory JSON takes once it is decoded.

use memchr::{memchr, memchr2};
use serde_json::Value;

/// The upper bounds of what each part of a text can become. A value has 32 bytes, and twice as many while it is decoded as a field
/// that the model does not name. A vector begins with four of them, and a map with a node of 11 names and values.
const VALUE: usize = 64;
const ARRAY: usize = 4 * VALUE + 32;
const OBJECT: usize = 1024;
/// A part of an event, which is a struct.
const PART: usize = 400;

/// The name of an object or an array; none for an element of an array, and for the whole text.
type Name<'a> = Option<&'a [u8]>;

/// Where events are: in a request to store one or a trace, and in a line of an export.
const EVENTS: [&[Name<'_>]; 3] = [
    &[None, Some(b"RecordEvent"), Some(b"event")],
    &[None, Some(b"StoreTrace"), Some(b"trace"), Some(b"events"), None],
    &[None, Some(b"event")],
];

/// Where bytes are in an event: each number takes one.
const BYTES: [[&[u8]; 3]; 3] = [
    [b"data", b"message", b"serialized_data"],
    [b"data", b"state_diff", b"before"],
    [b"data", b"state_diff", b"after"],
];

/// The parts of an event that are structs; the event itself has no name.
const PARTS: [&[&[u8]]; 5] = [
    &[b"data"],
    &[b"data", b"message"],
    &[b"data", b"state_diff"],
    &[b"data", b"performance_metrics"],
    &[b"causality"],
];

/// At least as much memory as decoding the text takes, however it is made: `{"":0}` takes a hundred times its length. A text that is
/// not JSON is not decoded.
///
/// It takes a fraction of the time of decoding.
pub fn max_decoded_bytes(json: &[u8]) -> usize {
    let mut bytes = json.len() + VALUE;
    // The objects and arrays around it.
    let mut open: Vec<Name<'_>> = Vec::new();
    let mut name = None;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let end = end_of_string(json, at);
                // The last string before a bracket is its name.
                name = json.get(at..end - 1);
                at = end;
            }
            b'{' => {
                open.push(name.take());
                bytes += match json.get(at) {
                    Some(b'}') => VALUE,
                    _ if is_part(&open) => PART,
                    _ => OBJECT,
                };
            }
            b'[' => {
                open.push(name.take());
                match if is_bytes(&open) { end_of_bytes(json, at) } else { None } {
                    // The bracket is still to come.
                    Some(end) => at = end,
                    None => bytes += if json.get(at) == Some(&b']') { VALUE } else { ARRAY },
                }
            }
            b'}' | b']' => {
                open.pop();
            }
            b',' => {
                bytes += VALUE;
                name = None;
            }
            _ => {}
        }
    }
    bytes
}

/// The path within an event of what was opened last; `None` if it is not in an event.
fn within_event<'a, 'j>(open: &'a [Name<'j>]) -> Option<&'a [Name<'j>]> {
    EVENTS.iter().find_map(|event| open.strip_prefix(*event))
}

fn is_path(open: &[Name<'_>], path: &[&[u8]]) -> bool {
    open.len() == path.len() && open.iter().zip(path).all(|(open, name)| *open == Some(*name))
}

/// Whether what was opened last is an event or a part of one that is a struct.
fn is_part(open: &[Name<'_>]) -> bool {
    within_event(open).is_some_and(|path| path.is_empty() || PARTS.iter().any(|part| is_path(path, part)))
}

/// Whether the array that was opened last holds bytes.
fn is_bytes(open: &[Name<'_>]) -> bool {
    within_event(open).is_some_and(|path| BYTES.iter().any(|bytes| is_path(path, bytes)))
}

/// The position of the end of an array that holds nothing but numbers.
fn end_of_bytes(json: &[u8], start: usize) -> Option<usize> {
    let end = start + memchr(b']', json.get(start..)?)?;
    let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b',' | b' ' | b'\n');
    json[start..end].iter().all(is_number).then_some(end)
}

/// The position after the string whose first character is at `at`, at most the end.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len().max(1)
}

/// The memory that a value takes, approximately.
fn value_bytes(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(value_bytes).sum(),
            Value::Object(map) => entries_bytes(map.iter()),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// The memory that the entries of a map take.
pub(crate) fn entries_bytes<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>) -> usize {
    /// The room of a node of a B-tree, of which one has half at least.
    const NODE: usize = 11 * (size_of::<String>() + size_of::<Value>());
    let mut bytes = 0;
    for (number, (name, value)) in entries.enumerate() {
        bytes += name.len() + value_bytes(value) - size_of::<Value>() + if number % 6 == 0 { NODE } else { 0 };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::TraceEvent;

    #[test]
    fn what_decodes_to_much_more_than_its_length_is_known_before() {
        let many = |part: &str| format!("[{}]", vec![part; 10_000].join(","));
        for (part, each) in [("{\"\":0}", 600), ("[0]", 150), ("0", 32), ("\"\"", 32), ("null", 32)] {
            assert!(max_decoded_bytes(many(part).as_bytes()) > 10_000 * each, "{part}");
        }
    }

    #[test]
    fn a_long_text_takes_its_length_whatever_is_in_it() {
        for text in ["{[,".repeat(100_000), "\\\"{".repeat(100_000), "\\".repeat(100_001)] {
            let json = serde_json::to_string(&json!({"a": text})).unwrap();
            assert!(max_decoded_bytes(json.as_bytes()) < json.len() + 2_000, "{}", &text[..3]);
        }
    }

    #[test]
    fn bytes_of_messages_and_states_take_one_each_and_what_looks_like_them_does_not() {
        let bytes = vec![0_u8; 100_000];
        let of = |value: Value| max_decoded_bytes(value.to_string().as_bytes());
        for event in [
            json!({"message": {"message_type": "m", "serialized_data": bytes}}),
            json!({"state_diff": {"before": null, "after": bytes}}),
            json!({"state_diff": {"before": bytes}}),
        ] {
            assert!(of(json!({"RecordEvent": {"event": {"data": event}}})) < 300_000);
        }
        for other in [
            json!({"custom_attributes": {"message": {"serialized_data": bytes}}}),
            json!({"custom_attributes": {"after": bytes}}),
            json!({"custom_attributes": {"RecordEvent": {"event": {"data": {"message": {"serialized_data": bytes}}}}}}),
            json!({"message": {"other": bytes}}),
        ] {
            assert!(of(json!({"RecordEvent": {"event": {"data": other}}})) > 3_000_000);
        }
    }

    #[test]
    fn the_longest_message_of_ordinary_events_is_far_below_what_a_message_may_take() {
        let mut event = TraceEvent::default();
        event.data.performance_metrics = crate::PerformanceMetrics::ZERO;
        let event = serde_json::to_string(&event).unwrap();
        let events = vec![&event[..]; (16 << 20) / event.len()].join(",");
        let bytes = max_decoded_bytes(format!(r#"{{"StoreTrace":{{"trace":{{"events":[{events}]}}}}}}"#).as_bytes());
        assert!(bytes < 200 << 20, "{} MiB", bytes >> 20);
    }

    #[test]
    fn a_text_that_is_not_json_is_measured_too() {
        for text in ["", "\"", "\"\\", "{", "]}", "{\"a\":[1", "[\"", "\\\""] {
            assert!(max_decoded_bytes(text.as_bytes()) >= text.len());
        }
    }

    #[test]
    fn an_event_of_many_small_maps_is_not_taken_for_a_small_one() {
        let mut event = TraceEvent::default();
        let before = event.approximate_bytes();
        event.data.custom_attributes.insert("a".into(), json!(vec![json!({"": 0}); 1_000]));
        assert!(event.approximate_bytes() - before > 600_000);
    }
}
