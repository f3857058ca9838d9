use chrono::DateTime;
use reflow_tracing_model::{
    Additions, CausalityInfo, EventId, EventKey, MessageSnapshot, More, PerformanceMetrics, StateDiff, TraceEvent,
    TraceEventData, TraceEventType, TraceId, time,
};
use uuid::Uuid;

use crate::StorageError;

/// An event to store. The costly encodings are done before the event reaches a writer.
pub struct EventRow {
    /// The trace of the event.
    pub trace_id: TraceId,
    /// The span id if it is a UUID as usually written. See [`CausalityInfo::span_uuid`].
    pub span_uuid: Option<Uuid>,
    event: TraceEvent,
    attributes: Option<String>,
    dependency_chain: Option<Vec<u8>>,
    additions: Additions,
}

/// The value of a column; `None` is NULL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A UUID.
    Id(Option<&'a Uuid>),
    /// A time, or the bits of an unsigned number.
    Number(Option<i64>),
    /// A floating-point number of 32 bits.
    Real(Option<f32>),
    /// A floating-point number of 64 bits.
    Double(Option<f64>),
    /// Any text, also with U+0000.
    Text(Option<&'a str>),
    /// A name of this program or JSON, without U+0000.
    Plain(Option<&'a str>),
    /// Bytes.
    Bytes(Option<&'a [u8]>),
}

/// The number of columns that [`EventRow::columns`] returns and [`read_event`] reads.
pub const EVENT_COLUMNS: usize = 26;

impl EventRow {
    /// The row of an event.
    pub fn new(trace_id: TraceId, event: TraceEvent) -> Result<Self, StorageError> {
        let attributes = &event.data.custom_attributes;
        let chain = &event.causality.dependency_chain;
        Ok(Self {
            trace_id,
            attributes: (!attributes.is_empty()).then(|| serde_json::to_string(attributes)).transpose()?,
            dependency_chain: (!chain.is_empty()).then(|| chain.iter().flat_map(|id| id.0.into_bytes()).collect()),
            span_uuid: event.causality.span_uuid(),
            additions: event.additions(),
            event,
        })
    }

    /// Identifies the event within its trace.
    pub fn key(&self) -> EventKey {
        self.event.key()
    }

    /// About the memory that it takes up.
    pub fn bytes(&self) -> usize {
        self.event.approximate_bytes()
    }

    /// The span id.
    pub fn span_id(&self) -> &str {
        &self.event.causality.span_id
    }

    /// The values of the columns, except for the span id. What is 0 or empty in nearly every event is NULL then.
    pub fn columns(&self) -> [Value<'_>; EVENT_COLUMNS] {
        use Value::{Bytes, Double, Id, Number, Plain, Real, Text};
        let TraceEvent { event_id, timestamp, event_type, actor_id, data, causality, .. } = &self.event;
        let (message, state) = (data.message.as_ref(), data.state_diff.as_ref());
        let metrics = &data.performance_metrics;
        let bits = |number: Option<u64>| Number(number.filter(|number| *number != 0).map(u64::cast_signed));
        let Additions { unmeasured, more } = &self.additions;
        [
            Id(Some(&event_id.0)),
            Number(Some(time::nanos(*timestamp))),
            Plain(Some(event_type.kind().name())),
            Text(Some(actor_id)),
            Text(event_type.to_actor()),
            Text(event_type.to_port()),
            Text(data.port.as_deref()),
            Text(data.error.as_deref()),
            Text(message.map(|message| message.message_type.as_str())),
            Number(message.map(|message| message.size_bytes.cast_signed())),
            Text(message.map(|message| message.checksum.as_str()).filter(|checksum| !checksum.is_empty())),
            Bytes(message.map(|message| message.serialized_data.as_slice()).filter(|bytes| !bytes.is_empty())),
            Plain(state.map(|state| state.diff_type.name())),
            Bytes(state.and_then(|state| state.before.as_deref())),
            Bytes(state.map(|state| state.after.as_slice())),
            bits(metrics.execution_time_ns),
            bits(metrics.memory_usage_bytes),
            // -0.0 is stored, because its bits are not 0.
            Real(metrics.cpu_usage_percent.filter(|percent| percent.to_bits() != 0)),
            bits(metrics.queue_depth),
            Double(metrics.throughput_msgs_per_sec.filter(|rate| rate.to_bits() != 0)),
            Plain(self.attributes.as_deref()),
            Id(causality.parent_event_id.as_ref().map(|parent| &parent.0)),
            Id(Some(&causality.root_cause_event_id.0)),
            Bytes(self.dependency_chain.as_deref()),
            Number((*unmeasured != 0).then(|| (*unmeasured).into())),
            Plain(more.as_deref()),
        ]
    }
}

/// A row with the columns of [`EventRow::columns`] in the same order; each method reads one of them, by index.
#[allow(missing_docs)] // As in `Value`.
pub trait EventColumns {
    /// The error of the database's driver.
    type Error;

    fn id(&self, column: usize) -> Result<Option<Uuid>, Self::Error>;
    fn number(&self, column: usize) -> Result<Option<i64>, Self::Error>;
    fn real(&self, column: usize) -> Result<Option<f32>, Self::Error>;
    fn double(&self, column: usize) -> Result<Option<f64>, Self::Error>;
    fn text(&self, column: usize) -> Result<Option<String>, Self::Error>;
    fn plain(&self, column: usize) -> Result<Option<&str>, Self::Error>;
    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, Self::Error>;

    /// The span id, which follows the other columns.
    fn span_id(&self) -> Result<String, Self::Error>;

    /// The error for a value that another program wrote.
    fn invalid(&self, column: usize, problem: String) -> Self::Error;
}

/// The event in a row.
pub fn read_event<C: EventColumns>(row: &C) -> Result<TraceEvent, C::Error> {
    let bits = |column| -> Result<u64, C::Error> { Ok(row.number(column)?.map_or(0, i64::cast_unsigned)) };
    let id = |column| required(row, column, row.id(column)?).map(EventId);
    let text = |column| required(row, column, row.text(column)?);
    let kind = required(row, 2, row.plain(2)?)?.parse().map_err(|problem: String| row.invalid(2, problem))?;
    let message = |message_type| -> Result<_, C::Error> {
        Ok(MessageSnapshot {
            message_type,
            size_bytes: bits(9)?,
            checksum: row.text(10)?.unwrap_or_default(),
            serialized_data: row.bytes(11)?.unwrap_or_default(),
            more: More::EMPTY,
        })
    };
    let state_diff = |name: &str| -> Result<_, C::Error> {
        Ok(StateDiff {
            before: row.bytes(13)?,
            after: required(row, 14, row.bytes(14)?)?,
            diff_type: name.parse().map_err(|problem: String| row.invalid(12, problem))?,
            more: More::EMPTY,
        })
    };
    let attributes = |json| serde_json::from_str(json).map_err(|error| row.invalid(20, error.to_string()));
    let chain = row.bytes(23)?.unwrap_or_default();
    let chain = chain.chunks(16).map(|id| Uuid::from_slice(id).map(EventId));
    let mut event = TraceEvent {
        event_id: id(0)?,
        timestamp: DateTime::from_timestamp_nanos(required(row, 1, row.number(1)?)?),
        event_type: TraceEventType::from_columns(kind, || Ok((text(4)?, text(5)?)))?,
        actor_id: text(3)?,
        data: TraceEventData {
            port: row.text(6)?,
            error: row.text(7)?,
            message: row.text(8)?.map(message).transpose()?,
            state_diff: row.plain(12)?.map(state_diff).transpose()?,
            performance_metrics: PerformanceMetrics {
                execution_time_ns: Some(bits(15)?),
                memory_usage_bytes: Some(bits(16)?),
                cpu_usage_percent: row.real(17)?.or(Some(0.0)),
                queue_depth: Some(bits(18)?),
                throughput_msgs_per_sec: row.double(19)?.or(Some(0.0)),
                more: More::EMPTY,
            },
            custom_attributes: row.plain(20)?.map(attributes).transpose()?.unwrap_or_default(),
            more: More::EMPTY,
        },
        causality: CausalityInfo {
            parent_event_id: row.id(21)?.map(EventId),
            root_cause_event_id: id(22)?,
            dependency_chain: chain
                .collect::<Result<_, uuid::Error>>()
                .map_err(|error| row.invalid(23, error.to_string()))?,
            span_id: row.span_id()?,
            more: More::EMPTY,
        },
        more: More::EMPTY,
    };
    let unmeasured = row.number(24)?.unwrap_or(0);
    let unmeasured = u8::try_from(unmeasured).map_err(|error| row.invalid(24, error.to_string()))?;
    let additions = Additions { unmeasured, more: row.plain(25)?.map(str::to_owned) };
    event.add(&additions).map_err(|problem| row.invalid(25, problem))?;
    Ok(event)
}

fn required<C: EventColumns, T>(row: &C, column: usize, value: Option<T>) -> Result<T, C::Error> {
    value.ok_or_else(|| row.invalid(column, "a required value is NULL".into()))
}
