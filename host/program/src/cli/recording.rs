//! Recordings of what Reflow programs sent: one frame per line.

use std::collections::HashMap;

use reflow_tracing_model::from_json;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::server::reflow::TracingRequest;

/// A line: `{"connection": "a", "at_ms": 12.5, "frame": {"Ping": ..}}`. Other fields, like `at_ms`, are ignored.
#[derive(Deserialize)]
struct Line {
    connection: String,
    frame: Box<RawValue>,
}

/// A request as it was sent.
pub(super) struct Frame {
    pub(super) json: String,
    /// Its line in the file, from 1.
    pub(super) line: usize,
}

/// The frames of each recorded connection, in the order of the first frames. The error names the invalid line.
pub(super) fn parse(text: &str) -> Result<Vec<Vec<Frame>>, String> {
    let mut connections: Vec<Vec<Frame>> = Vec::new();
    let mut places = HashMap::new();
    for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = index + 1;
        let Line { connection, frame } = serde_json::from_str(text)
            .map_err(|error| format!(r#"line {line} is not {{"connection": "..", "frame": ..}}: {error}"#))?;
        from_json::<TracingRequest>(frame.get().as_bytes())
            .map_err(|error| format!("the frame on line {line} is not a request: {error}"))?;
        let place = *places.entry(connection).or_insert_with(|| {
            connections.push(Vec::new());
            connections.len() - 1
        });
        connections[place].push(Frame { json: frame.get().to_owned(), line });
    }
    Ok(connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_unchanged_and_in_order_per_connection() {
        let text = r#"{"connection": "b", "at_ms": 1.5, "frame": "Ping"}

{"connection": "a", "frame": {"GetFlowVersions":  {"flow_id": "x", "other": 1.50}}}
{"connection": "b", "frame": "GetMetrics"}
"#;
        let connections = parse(text).unwrap();
        let frames: Vec<Vec<_>> = connections
            .iter()
            .map(|frames| frames.iter().map(|frame| (frame.line, frame.json.as_str())).collect())
            .collect();
        let kept = r#"{"GetFlowVersions":  {"flow_id": "x", "other": 1.50}}"#;
        assert_eq!(frames, [vec![(1, r#""Ping""#), (4, r#""GetMetrics""#)], vec![(3, kept)]]);
    }

    #[test]
    fn an_invalid_line_is_reported_with_its_number() {
        let good = r#"{"connection": "a", "frame": "Ping"}"#;
        for bad in ["nonsense", r#"{"connection": "a"}"#, r#"{"connection": "a", "frame": {"Pong": 1}}"#] {
            let error = parse(&format!("{good}\n{bad}\n")).err().unwrap();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
