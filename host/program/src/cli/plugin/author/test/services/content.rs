//! The traces and events in a request of a forwarder, in whatever JSON it wraps them.

use reflow_tracing::{FlowTrace, TraceEvent, TraceId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The maximum length of a body in a message, in characters.
const SHOWN: usize = 200;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    pub traces: Vec<FlowTrace>,
    pub events: Vec<(TraceId, TraceEvent)>,
}

impl Content {
    /// Reads JSON, or lines of JSON. An object with a `trace_id` and a `flow_id` is the header of a trace. One with a `trace_id` is an
    /// event: in the field `event`, or in the object itself. Every other object or array may contain such.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let mut content = Self::default();
        for value in serde_json::Deserializer::from_slice(body).into_iter() {
            content.take(value.map_err(|error| not_understood(body, &format!("it is not JSON: {error}")))?)?;
        }
        if content == Self::default() {
            return Err(not_understood(body, "there is neither a header of a trace nor an event in it"));
        }
        Ok(content)
    }

    fn take(&mut self, value: Value) -> Result<(), String> {
        match value {
            Value::Array(values) => values.into_iter().try_for_each(|value| self.take(value)),
            Value::Object(fields) => self.take_object(fields),
            _ => Ok(()),
        }
    }

    fn take_object(&mut self, mut fields: Map<String, Value>) -> Result<(), String> {
        let has = |name| fields.contains_key(name);
        if !has("trace_id") || !(has("flow_id") || has("event") || has("event_id")) {
            return fields.into_iter().try_for_each(|(_, value)| self.take(value));
        }
        if has("flow_id") {
            self.traces.push(parsed("the header of a trace", Value::Object(fields))?);
            return Ok(());
        }
        let trace_id = parsed("a trace_id", fields.remove("trace_id").unwrap_or_default())?;
        let event = fields.remove("event").unwrap_or(Value::Object(fields));
        self.events.push((trace_id, parsed("an event", event)?));
        Ok(())
    }
}

fn parsed<T: DeserializeOwned>(what: &str, value: Value) -> Result<T, String> {
    let text = value.to_string();
    serde_json::from_value(value)
        .map_err(|error| format!("the receiver can't read {what} in {}: {error}", start_of(text.as_bytes())))
}

fn not_understood(body: &[u8], why: &str) -> String {
    format!(
        "the receiver does not understand what arrived: {why}. It reads JSON or lines of JSON with Reflow's headers and \
         {{\"trace_id\": .., \"event\": ..}}. It got {}",
        start_of(body)
    )
}

fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN * 4)]);
    let start: String = text.chars().take(SHOWN).collect();
    if body.len() > start.len() { format!("{start:?}.. ({} bytes)", body.len()) } else { format!("{start:?}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn headers_and_events_are_found_in_lines_lists_and_objects() {
        let (trace, event) = (FlowTrace::default(), TraceEvent::default());
        let id = trace.trace_id;
        let mut flat = json!(event);
        flat["trace_id"] = json!(id);
        let wrapped = json!({ "trace_id": id, "event": event });
        let read = |body: String| Content::read(body.as_bytes()).unwrap();
        let all = read(format!("{}\n{wrapped}\n{flat}\n", json!(trace)));
        assert_eq!(
            all,
            Content { traces: vec![trace.clone()], events: vec![(id, event.clone()), (id, event.clone())] }
        );
        let nested = read(json!({ "type": "events", "streams": [{ "items": [wrapped] }, [trace]] }).to_string());
        assert_eq!(nested, Content { traces: vec![trace], events: vec![(id, event)] });
    }

    #[test]
    fn what_is_not_understood_is_shown() {
        for (body, part) in [
            (&b"\xff\x00"[..], "not JSON"),
            (b"", "neither"),
            (b"[1, {\"trace_id\": 5}]", "neither"),
            (b"{\"trace_id\": \"x\", \"event\": {}}", "a trace_id"),
            (b"{\"trace_id\": \"x\", \"flow_id\": 5}", "the header of a trace"),
        ] {
            let problem = Content::read(body).unwrap_err();
            assert!(problem.contains(part), "no {part:?} in: {problem}");
        }
        let long = Content::read("é".repeat(100_000).as_bytes()).unwrap_err();
        assert!(long.len() < 1_000 && long.contains("(200000 bytes)"), "{long}");
    }
}
