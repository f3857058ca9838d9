//! `reflow:storage/batch`: batches of events behind handles.

use std::str::FromStr;
use std::sync::Arc;

use reflow_tracing_model::{TraceEvent, TraceId, time};
use wasmtime::component::Resource;

use crate::bindings::reflow::storage::batch::{Blobs, Column, Host, HostEventBatch, Texts};
use crate::bindings::reflow::storage::types::Event;
use crate::body::{self, DecodeError};
use crate::convert;
use crate::instance::InstanceState;

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
            Ok(Row { trace_id: no_trace, event: body::decode_event(body)? })
        };
        let rows = bodies.into_iter().map(row).collect::<Result<_, DecodeError>>()?;
        Ok(Self { rows: Arc::new(rows), bytes })
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
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
            _ => return Err(format!("`{name}` is not a field of an event; wit/storage/batch.wit lists them")),
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
        body::append_event(&self.event, bytes);
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
            Field::Body => FieldValue::Blob(body::encode_event(event)),
        }
    }
}

fn optional_text(text: Option<&str>) -> FieldValue<'_> {
    text.map_or(FieldValue::Absent, FieldValue::Text)
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn column(rows: &[Row], field: Field) -> Column {
    let values = rows.iter().map(|row| row.value(field));
    match field {
        Field::TraceId | Field::EventId | Field::ParentEventId => Column::Uuids(
            values
                .flat_map(|value| match value {
                    FieldValue::Uuid(uuid) => <[u64; 2]>::from(uuid.as_u64_pair()),
                    _ => [0, 0],
                })
                .collect(),
        ),
        Field::Timestamp | Field::MessageSize | Field::ExecutionTimeNs => Column::Integers(
            values
                .map(|value| match value {
                    FieldValue::Integer(number) => number,
                    _ => 0,
                })
                .collect(),
        ),
        Field::EventType | Field::ActorId | Field::Port | Field::Error | Field::SpanId | Field::MessageType => {
            let mut texts = Texts { text: String::new(), ends: Vec::with_capacity(rows.len()) };
            for value in values {
                if let FieldValue::Text(text) = value {
                    texts.text.push_str(text);
                }
                texts.ends.push(texts.text.len() as u32);
            }
            Column::Texts(texts)
        }
        Field::Body => {
            let mut blobs = Blobs { data: Vec::new(), ends: Vec::with_capacity(rows.len()) };
            for value in values {
                if let FieldValue::Blob(bytes) = value {
                    blobs.data.extend_from_slice(&bytes);
                }
                blobs.ends.push(blobs.data.len() as u32);
            }
            Column::Blobs(blobs)
        }
    }
}

/// The byte strings of `blobs`; `None` when its ends are not ascending offsets into its data.
fn split(blobs: &Blobs) -> Option<Vec<&[u8]>> {
    let mut start = 0;
    let slices = blobs.ends.iter().map(|&end| {
        let slice = blobs.data.get(start..end as usize);
        start = end as usize;
        slice
    });
    let slices = slices.collect::<Option<Vec<_>>>()?;
    (start == blobs.data.len()).then_some(slices)
}

impl Host for InstanceState {}

impl crate::bindings::reflow::storage::types::Host for InstanceState {}

impl HostEventBatch for InstanceState {
    fn new(&mut self) -> wasmtime::Result<Resource<EventBatch>> {
        Ok(self.table.push(EventBatch::default())?)
    }

    fn len(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.table.get(&batch)?.rows.len())?)
    }

    fn columns(
        &mut self,
        batch: Resource<EventBatch>,
        fields: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Column>, String>> {
        let rows = self.table.get(&batch)?.rows();
        let fields: Result<Vec<Field>, String> = fields.iter().map(|name| name.parse()).collect();
        Ok(fields.map(|fields| fields.into_iter().map(|field| column(rows, field)).collect()))
    }

    fn events(&mut self, batch: Resource<EventBatch>, offset: u32, limit: u32) -> wasmtime::Result<Vec<Event>> {
        let rows = self.table.get(&batch)?.rows();
        Ok(rows.iter().skip(offset as usize).take(limit as usize).map(convert::event).collect())
    }

    fn push(&mut self, batch: Resource<EventBatch>, bodies: Blobs) -> wasmtime::Result<Result<(), String>> {
        let Some(bodies) = split(&bodies) else {
            return Ok(Err("`ends` must ascend and the last must be the length of `data`".into()));
        };
        let added = match EventBatch::from_bodies(bodies) {
            Ok(added) => added,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(problem) = self.reserve(&added) {
            return Ok(Err(problem));
        }
        let batch = self.table.get_mut(&batch)?;
        // Neither is shared: `added` is new, and no capability keeps a batch beyond its call.
        match (Arc::get_mut(&mut batch.rows), Arc::try_unwrap(added.rows)) {
            (Some(rows), Ok(new)) => {
                rows.extend(new);
                batch.bytes += added.bytes;
                Ok(Ok(()))
            }
            _ => Ok(Err("the batch is in use".into())),
        }
    }

    fn drop(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<()> {
        self.remove_batch(batch)?;
        Ok(())
    }
}

impl InstanceState {
    /// Adds a batch from a capability to the instance's handles. Fails when its batches exceed the limit.
    pub(crate) fn add_batch(&mut self, batch: EventBatch) -> wasmtime::Result<Result<Resource<EventBatch>, String>> {
        match self.reserve(&batch) {
            Ok(()) => Ok(Ok(self.table.push(batch)?)),
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// Removes a batch from the instance's handles.
    pub(crate) fn remove_batch(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<EventBatch> {
        let batch = self.table.delete(batch)?;
        self.batch_bytes -= batch.bytes;
        Ok(batch)
    }

    /// Counts the bytes of a batch. Fails when the batches of the instance exceed the limit.
    fn reserve(&mut self, added: &EventBatch) -> Result<(), String> {
        let bytes = self.batch_bytes + added.bytes;
        if bytes > self.limits.result_bytes() {
            return Err(format!(
                "the batches hold {bytes} bytes of events: request smaller pages, or raise plugins.{}.limits.result_mb, which is {}",
                self.plugin, self.limits.result_mb
            ));
        }
        self.batch_bytes = bytes;
        Ok(())
    }
}
