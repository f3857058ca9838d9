//! Batches of events, and the fields of an event.

use std::str::FromStr;
use std::sync::Arc;

use reflow_tracing_model::{TraceEvent, TraceId, time};

use super::body::{self, DecodeError};

/// An ordered batch of events. Cheap to clone, so that a capability can move it to another thread.
#[derive(Default, Clone)]
pub struct EventBatch {
    rows: Arc<Vec<Row>>,
    /// The size of the bodies that it was decoded from.
    bytes: usize,
}

pub(crate) struct Row {
    pub trace_id: TraceId,
    pub event: TraceEvent,
}

impl EventBatch {
    /// A batch of events to store.
    pub(crate) fn new(events: Vec<(TraceId, TraceEvent)>) -> Self {
        let rows = events.into_iter().map(|(trace_id, event)| Row { trace_id, event }).collect();
        Self { rows: Arc::new(rows), bytes: 0 }
    }

    /// A batch of events that were read. Fails on an invalid body.
    pub(crate) fn from_bodies<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DecodeError> {
        let no_trace = TraceId(uuid::Uuid::nil());
        let mut bytes = 0;
        let row = |body: &[u8]| {
            bytes += body.len();
            Ok(Row { trace_id: no_trace, event: body::decode(body)? })
        };
        let rows = bodies.into_iter().map(row).collect::<Result<_, DecodeError>>()?;
        Ok(Self { rows: Arc::new(rows), bytes })
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The size of the bodies that it was decoded from.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the events of `added`. Returns false when one of the two is shared.
    pub(crate) fn append(&mut self, added: Self) -> bool {
        match (Arc::get_mut(&mut self.rows), Arc::try_unwrap(added.rows)) {
            (Some(rows), Ok(new)) => {
                rows.extend(new);
                self.bytes += added.bytes;
                true
            }
            _ => false,
        }
    }

    /// The events, copied only if the batch is shared.
    pub(crate) fn into_events(self) -> Vec<TraceEvent> {
        match Arc::try_unwrap(self.rows) {
            Ok(rows) => rows.into_iter().map(|row| row.event).collect(),
            Err(rows) => rows.iter().map(|row| row.event.clone()).collect(),
        }
    }
}

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
}

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
            _ => return Err(format!("`{name}` is not a field of an event; wit/deps/storage/batch.wit lists them")),
        })
    }
}

/// The value of a field.
pub(crate) enum FieldValue<'a> {
    Absent,
    Uuid(uuid::Uuid),
    Integer(i64),
    Text(&'a str),
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
            Field::EventType => FieldValue::Text(event.event_type.kind().name()),
            Field::ActorId => FieldValue::Text(&event.actor_id),
            Field::Port => optional_text(event.data.port.as_deref()),
            Field::Error => optional_text(event.data.error.as_deref()),
            Field::SpanId => FieldValue::Text(&event.causality.span_id),
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
        }
    }
}

fn optional_text(text: Option<&str>) -> FieldValue<'_> {
    text.map_or(FieldValue::Absent, FieldValue::Text)
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
