//! The fields of an event.

use std::borrow::Cow;
use std::str::FromStr;

use reflow_tracing_model::time;
use serde::Serialize;

use super::batch::Row;
use super::body;

/// A field of an event, named as in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    TraceId,
    EventId,
    Timestamp,
    EventType,
    ActorId,
    Port,
    Error,
    SpanId,
    ParentEventId,
    MessageType,
    MessageSize,
    ExecutionTimeNs,
    Body,
    ToActor,
    ToPort,
    FlowId,
    Attributes,
    Json,
}

/// The longest part of an unknown name that an error shows, in bytes.
const SHOWN: usize = 100;

impl Field {
    /// Whether its values are UUIDs.
    pub(crate) fn is_uuid(self) -> bool {
        matches!(self, Self::TraceId | Self::EventId | Self::ParentEventId)
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "trace-id" => Self::TraceId,
            "event-id" => Self::EventId,
            "timestamp" => Self::Timestamp,
            "event-type" => Self::EventType,
            "actor-id" => Self::ActorId,
            "port" => Self::Port,
            "error" => Self::Error,
            "span-id" => Self::SpanId,
            "parent-event-id" => Self::ParentEventId,
            "message-type" => Self::MessageType,
            "message-size" => Self::MessageSize,
            "execution-time-ns" => Self::ExecutionTimeNs,
            "body" => Self::Body,
            "to-actor" => Self::ToActor,
            "to-port" => Self::ToPort,
            "flow-id" => Self::FlowId,
            "attributes" => Self::Attributes,
            "json" => Self::Json,
            _ => {
                let shown = &name[..name.floor_char_boundary(SHOWN)];
                return Err(format!("`{shown}` is not a field of an event; wit/deps/storage/batch.wit lists them"));
            }
        })
    }
}

/// The value of a field.
pub(crate) enum FieldValue<'a> {
    Absent,
    Uuid(uuid::Uuid),
    Integer(i64),
    Text(Cow<'a, str>),
    Blob(Vec<u8>),
}

impl Row {
    /// Appends the value of the field `body` to `bytes`.
    pub(crate) fn append_body(&self, bytes: &mut Vec<u8>) {
        body::append(&self.event, bytes);
    }

    pub(crate) fn value(&self, field: Field) -> FieldValue<'_> {
        let event = &self.event;
        match field {
            Field::TraceId => FieldValue::Uuid(self.trace_id.0),
            Field::EventId => FieldValue::Uuid(event.event_id.0),
            Field::Timestamp => FieldValue::Integer(time::nanos(event.timestamp)),
            Field::EventType => FieldValue::Text(event.event_type.kind().name().into()),
            Field::ActorId => FieldValue::Text(Cow::Borrowed(&event.actor_id)),
            Field::Port => optional_text(event.data.port.as_deref()),
            Field::Error => optional_text(event.data.error.as_deref()),
            Field::SpanId => FieldValue::Text(Cow::Borrowed(&event.causality.span_id)),
            Field::ParentEventId => {
                event.causality.parent_event_id.map_or(FieldValue::Absent, |parent| FieldValue::Uuid(parent.0))
            }
            Field::MessageType => {
                optional_text(event.data.message.as_ref().map(|message| message.message_type.as_str()))
            }
            Field::MessageSize => event
                .data
                .message
                .as_ref()
                .map_or(FieldValue::Absent, |message| FieldValue::Integer(clamp(message.size_bytes))),
            Field::ExecutionTimeNs => {
                let measured = event.data.performance_metrics.execution_time_ns;
                measured.map_or(FieldValue::Absent, |nanoseconds| FieldValue::Integer(clamp(nanoseconds)))
            }
            Field::Body => FieldValue::Blob(body::encode(event)),
            Field::ToActor => optional_text(event.event_type.to_actor()),
            Field::ToPort => optional_text(event.event_type.to_port()),
            Field::FlowId => optional_text(self.flow_id.as_deref()),
            Field::Attributes if event.data.custom_attributes.is_empty() => FieldValue::Absent,
            Field::Attributes => FieldValue::Text(json(&event.data.custom_attributes).into()),
            Field::Json => FieldValue::Text(json(event).into()),
        }
    }

    /// Whether the event has a value in this field.
    pub(crate) fn has(&self, field: Field) -> bool {
        match field {
            Field::Body | Field::Json => true,
            Field::Attributes => !self.event.data.custom_attributes.is_empty(),
            _ => !matches!(self.value(field), FieldValue::Absent),
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("every type of the model has JSON: its names are texts")
}

fn optional_text(text: Option<&str>) -> FieldValue<'_> {
    text.map_or(FieldValue::Absent, |text| FieldValue::Text(Cow::Borrowed(text)))
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
