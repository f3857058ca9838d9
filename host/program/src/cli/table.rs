//! Traces and events as tables, for people.

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Table, presets};

use super::printable::printable;
use super::time::display_nanos;
use reflow_tracing::{ExecutionStatus, FlowTrace, TraceEvent, TraceEventType};

/// One line per trace.
pub(super) fn of_traces(traces: &[FlowTrace]) -> String {
    let mut table = new_table(["TRACE", "FLOW", "STATUS", "START", "DURATION", "EVENTS"]);
    for trace in traces {
        table.add_row([
            trace.trace_id.to_string(),
            printable(trace.flow_id.as_str()).into_owned(),
            trace.status.name().to_owned(),
            display_time(trace.start_time),
            trace.duration_ns().map_or_else(|| "-".into(), display_nanos),
            trace.events.len().to_string(),
        ]);
    }
    table.trim_fmt()
}

/// The header of a trace, then one line per event.
pub(super) fn of_trace(trace: &FlowTrace) -> String {
    let version = &trace.version;
    let status = match &trace.status {
        ExecutionStatus::Failed { error } => format!("Failed: {}", printable(error)),
        other => other.name().to_owned(),
    };
    let mut lines = vec![
        ("trace", trace.trace_id.to_string()),
        ("flow", printable(trace.flow_id.as_str()).into_owned()),
        ("version", format!("{}.{}.{}", version.major, version.minor, version.patch)),
        ("execution", trace.execution_id.to_string()),
        ("status", status),
        ("start", display_time(trace.start_time)),
        ("end", trace.end_time.map_or_else(|| "-".into(), display_time)),
        ("duration", trace.duration_ns().map_or_else(|| "-".into(), display_nanos)),
    ];
    let metadata = &trace.metadata;
    let optional = [
        ("user", metadata.user_id.as_deref().unwrap_or_default()),
        ("session", metadata.session_id.as_deref().unwrap_or_default()),
        ("environment", &metadata.environment),
        ("host", &metadata.hostname),
    ];
    lines.extend(
        optional
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, printable(value).into_owned())),
    );
    lines.extend(
        metadata.tags.iter().map(|(name, value)| ("tag", format!("{} = {}", printable(name), printable(value)))),
    );
    lines.push(("events", trace.events.len().to_string()));

    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect();
    if !trace.events.is_empty() {
        text.push('\n');
        text += &of_events(&trace.events, trace.start_time);
    }
    text
}

fn of_events(events: &[TraceEvent], start: DateTime<Utc>) -> String {
    let mut table = new_table(["OFFSET", "TYPE", "ACTOR", "PORT", "DETAIL"]);
    for event in events {
        let offset = (event.timestamp - start).num_nanoseconds().unwrap_or(i64::MAX);
        table.add_row([
            display_nanos(offset),
            event.event_type.kind().to_string(),
            printable(&event.actor_id).into_owned(),
            printable(event.data.port.as_deref().unwrap_or("")).into_owned(),
            printable(&detail(event)).into_owned(),
        ]);
    }
    table.trim_fmt()
}

/// What is in the event besides its type, its actor and its port.
pub(super) fn detail(event: &TraceEvent) -> String {
    let mut parts = Vec::new();
    if let TraceEventType::DataFlow { to_actor, to_port } = &event.event_type {
        parts.push(format!("to {to_actor}.{to_port}"));
    }
    if let Some(message) = &event.data.message {
        parts.push(format!("{}, {} bytes", message.message_type, message.size_bytes));
    }
    if let Some(error) = &event.data.error {
        parts.push(format!("error: {error}"));
    }
    parts.join("; ")
}

pub(super) fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

pub(super) fn display_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reflow_tracing::{FlowId, FlowVersion, MessageSnapshot, TraceEventData};

    fn trace() -> FlowTrace {
        let start_time = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let after = |ms| start_time + chrono::TimeDelta::milliseconds(ms);
        let message = MessageSnapshot { message_type: "Order".into(), size_bytes: 7, ..Default::default() };
        let event = TraceEvent {
            timestamp: after(5),
            event_type: TraceEventType::DataFlow { to_actor: "b".into(), to_port: "In".into() },
            actor_id: "a\x1b[31m".into(),
            data: TraceEventData { port: Some("Out".into()), message: Some(message), ..Default::default() },
            ..Default::default()
        };
        FlowTrace {
            start_time,
            end_time: Some(after(1_500)),
            status: ExecutionStatus::Failed { error: "disk\nfull".into() },
            events: vec![event],
            ..FlowTrace::new(FlowId::new("orders"), FlowVersion::default())
        }
    }

    #[test]
    fn a_list_has_one_line_per_trace() {
        let trace = trace();
        let text = of_traces(&[trace.clone(), trace.clone()]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let id = trace.trace_id.to_string();
        for part in [&id, "orders", "Failed", "2001-09-09T01:46:40.000Z", "1.500 s"] {
            assert!(lines[1].contains(part), "{part:?} is missing in: {text}");
        }
        assert!(lines[1].ends_with('1'), "{text}");
    }

    #[test]
    fn a_trace_shows_its_events_and_cannot_control_the_terminal() {
        let text = of_trace(&trace());
        for part in ["Failed: disk\\nfull", "a\\u{1b}[31m", "5.000 ms", "DataFlow", "Out", "to b.In; Order, 7 bytes"] {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
        assert!(!text.contains('\x1b'), "{text:?}");
    }
}
