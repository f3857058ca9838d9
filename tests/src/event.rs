use chrono::DateTime;
use reflow_tracing::{EventId, PerformanceMetrics, TraceEvent};
use serde_json::json;
use uuid::Uuid;

/// The event is a function of its id, so that a reader can verify it by the id.
pub fn event_of_id(id: Uuid) -> TraceEvent {
    let mut event = TraceEvent {
        event_id: EventId(id),
        timestamp: DateTime::from_timestamp_nanos(1_750_000_000_000_000_000 + i64::from(id.as_fields().0)),
        actor_id: format!("actor {id}"),
        ..TraceEvent::default()
    };
    event.causality.root_cause_event_id = event.event_id;
    // As Reflow's published client sends it.
    event.data.performance_metrics = PerformanceMetrics::ZERO;
    let length = usize::from(id.as_bytes()[0]);
    event.data.custom_attributes.insert("payload".into(), json!("\u{1f4be}".repeat(length)));
    event
}
