//! Validation: rejects values that a store can't keep exactly.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{FlowTrace, More, TraceEvent};

/// The longest flow or actor name, in bytes. Backends index them.
pub const MAX_NAME_BYTES: usize = 1024;

/// How deep a custom attribute, or a field that the model does not name, may nest. JSON parsers commonly stop at 128, and an attribute is nested within a trace.
const MAX_ATTRIBUTE_DEPTH: usize = 100;

/// A value that a store can't keep exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidValue {
    field: String,
    problem: String,
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> InvalidValue {
    InvalidValue { field: field.into(), problem: problem.into() }
}

impl FlowTrace {
    /// Checks that the trace and its events can be stored exactly.
    pub fn validate(&self) -> Result<(), InvalidValue> {
        self.validate_header()?;
        self.events.iter().try_for_each(TraceEvent::validate)
    }

    /// Checks the header: everything but the events.
    pub fn validate_header(&self) -> Result<(), InvalidValue> {
        check_name("flow_id", self.flow_id.as_str())?;
        check_time("start_time", self.start_time)?;
        check_time("version.timestamp", self.version.timestamp)?;
        self.end_time.map_or(Ok(()), |end| check_time("end_time", end))?;
        check_more("", &self.more)?;
        check_more("version.", &self.version.more)?;
        check_more("metadata.", &self.metadata.more)
    }
}

impl TraceEvent {
    /// Checks that the event can be stored exactly.
    pub fn validate(&self) -> Result<(), InvalidValue> {
        let of_event = |mut error: InvalidValue| {
            error.field = format!("event {}: {}", self.event_id, error.field);
            error
        };
        check_name("actor_id", &self.actor_id).map_err(of_event)?;
        check_time("timestamp", self.timestamp).map_err(of_event)?;
        let metrics = &self.data.performance_metrics;
        let cpu_usage_percent = metrics.cpu_usage_percent.map(f64::from);
        check_finite("cpu_usage_percent", cpu_usage_percent).map_err(of_event)?;
        check_finite("throughput_msgs_per_sec", metrics.throughput_msgs_per_sec).map_err(of_event)?;
        for (name, value) in &self.data.custom_attributes {
            check_depth(|| format!("custom_attributes[{name:?}]"), value).map_err(of_event)?;
        }
        let data = &self.data;
        check_more("", &self.more).map_err(of_event)?;
        check_more("data.", &data.more).map_err(of_event)?;
        check_more("performance_metrics.", &metrics.more).map_err(of_event)?;
        check_more("causality.", &self.causality.more).map_err(of_event)?;
        data.message.as_ref().map_or(Ok(()), |message| check_more("message.", &message.more)).map_err(of_event)?;
        data.state_diff.as_ref().map_or(Ok(()), |state| check_more("state_diff.", &state.more)).map_err(of_event)
    }
}

fn check_name(field: &str, name: &str) -> Result<(), InvalidValue> {
    if name.len() > MAX_NAME_BYTES {
        return Err(invalid(field, format!("is {} bytes long; the limit is {MAX_NAME_BYTES}", name.len())));
    }
    Ok(())
}

/// Nanoseconds in a second. Only a leap second has more.
const SECOND: u32 = 1_000_000_000;

/// Stores keep nanoseconds since 1970. In that count, a leap second has the same values as the second after it.
fn check_time(field: &str, time: DateTime<Utc>) -> Result<(), InvalidValue> {
    if time.timestamp_subsec_nanos() >= SECOND {
        let problem = format!(
            "is {time}, within a leap second, which a store can't tell from the second after it; use another time"
        );
        return Err(invalid(field, problem));
    }
    match time.timestamp_nanos_opt() {
        Some(_) => Ok(()),
        None => Err(invalid(field, format!("is {time}; it must be between the years 1677 and 2262"))),
    }
}

fn check_finite(field: &str, number: Option<f64>) -> Result<(), InvalidValue> {
    match number {
        Some(number) if !number.is_finite() => Err(invalid(field, format!("is {number}; it must be a finite number"))),
        _ => Ok(()),
    }
}

fn check_more(part: &str, more: &More) -> Result<(), InvalidValue> {
    more.iter().try_for_each(|(name, value)| check_depth(|| format!("{part}{name}"), value))
}

fn check_depth(field: impl FnOnce() -> String, value: &Value) -> Result<(), InvalidValue> {
    if nests_at_most(value, MAX_ATTRIBUTE_DEPTH) {
        return Ok(());
    }
    Err(invalid(field(), format!("nests deeper than {MAX_ATTRIBUTE_DEPTH}")))
}

fn nests_at_most(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(values) => depth > 0 && values.iter().all(|value| nests_at_most(value, depth - 1)),
        Value::Object(values) => depth > 0 && values.values().all(|value| nests_at_most(value, depth - 1)),
        _ => true,
    }
}
