//! An event as a row of the table `event`.

use chrono::DateTime;
use reflow_tracing_model::{
    Additions, CausalityInfo, EventId, EventKey, MessageSnapshot, More, PerformanceMetrics, StateDiff, TraceEvent,
    TraceEventData, TraceEventType, TraceId, time,
};
use reflow_tracing_storage::StorageError;
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgBindIterExt, PgRow};
use sqlx::query::Query;
use uuid::Uuid;

use super::column::{escaped, from_bits, invalid, json, optional_text, text, to_bits};
use super::copy::Tuple;
use super::escape::escape;

/// An event. The costly encodings are done before the event reaches a writer.
pub(super) struct EventRow {
    pub trace_id: TraceId,
    event: TraceEvent,
    attributes: Option<String>,
    dependency_chain: Option<Vec<u8>>,
    span_uuid: Option<Uuid>,
    additions: Additions,
}

impl EventRow {
    pub(super) fn new(trace_id: TraceId, event: TraceEvent) -> Result<Self, StorageError> {
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

    pub(super) fn key(&self) -> EventKey {
        self.event.key()
    }

    /// About how many bytes it takes to send the event.
    pub(super) fn bytes(&self) -> usize {
        let message = self.message().map_or(0, |message| message.serialized_data.len());
        let state = self.state().map_or(0, |state| state.after.len() + state.before.as_ref().map_or(0, Vec::len));
        let texts = [&self.attributes, &self.additions.more].map(|text| text.as_ref().map_or(0, String::len));
        200 + message + state + texts[0] + texts[1]
    }

    fn unmeasured(&self) -> Option<i16> {
        (self.additions.unmeasured != 0).then_some(self.additions.unmeasured.into())
    }

    fn message(&self) -> Option<&MessageSnapshot> {
        self.event.data.message.as_ref()
    }

    fn state(&self) -> Option<&StateDiff> {
        self.event.data.state_diff.as_ref()
    }
}

impl EventRow {
    /// Writes the columns that `sql/copy_events.sql` names after the location.
    pub(super) fn copy(&self, tuple: &mut Tuple<'_>) {
        let TraceEvent { event_id, timestamp, event_type, actor_id, data, causality, .. } = &self.event;
        let metrics = &data.performance_metrics;
        let (message, state) = (self.message(), self.state());
        tuple.id(Some(event_id.0));
        tuple.number(Some(time::nanos(*timestamp)));
        tuple.text(Some(event_type.kind().name()));
        tuple.text(Some(escape(actor_id)));
        tuple.text(event_type.to_actor().map(escape));
        tuple.text(event_type.to_port().map(escape));
        tuple.text(escaped(&data.port));
        tuple.text(escaped(&data.error));
        tuple.text(message.map(|message| escape(&message.message_type)));
        tuple.number(message.map(|message| message.size_bytes.cast_signed()));
        tuple.text(message.filter(|message| !message.checksum.is_empty()).map(|message| escape(&message.checksum)));
        tuple.bytes(message.map(|message| message.serialized_data.as_slice()).filter(|bytes| !bytes.is_empty()));
        tuple.text(state.map(|state| state.diff_type.name()));
        tuple.bytes(state.and_then(|state| state.before.as_deref()));
        tuple.bytes(state.map(|state| state.after.as_slice()));
        tuple.number(metric(metrics.execution_time_ns));
        tuple.number(metric(metrics.memory_usage_bytes));
        tuple.real(metrics.cpu_usage_percent.filter(|percent| percent.to_bits() != 0));
        tuple.number(metric(metrics.queue_depth));
        tuple.double(metrics.throughput_msgs_per_sec.filter(|rate| rate.to_bits() != 0));
        tuple.text(self.attributes.as_ref());
        tuple.id(causality.parent_event_id.map(|parent| parent.0));
        tuple.id(Some(causality.root_cause_event_id.0));
        tuple.bytes(self.dependency_chain.as_deref());
        tuple.id(self.span_uuid);
        tuple.text(self.span_uuid.is_none().then(|| escape(&causality.span_id)));
        tuple.small(self.unmeasured());
        tuple.text(self.additions.more.as_ref());
    }
}

/// A metric, which is NULL when it is 0 and when it was not measured; `unmeasured` tells the two apart.
fn metric(value: Option<u64>) -> Option<i64> {
    value.and_then(to_bits)
}

/// Binds these rows to the parameters of `sql/store_events.sql`.
pub(super) fn bind<'q>(
    query: Query<'q, sqlx::Postgres, PgArguments>,
    rows: &[&EventRow],
) -> Query<'q, sqlx::Postgres, PgArguments> {
    macro_rules! bind {
        ($query:expr, $row:ident, $($column:expr),+ $(,)?) => {
            $query$(.bind(rows.iter().map(|$row| $column).bind_iter()))+
        };
    }
    bind!(
        query,
        row,
        row.trace_id.0,
        row.event.event_id.0,
        time::nanos(row.event.timestamp),
        row.event.event_type.kind().name(),
        escape(&row.event.actor_id),
        row.event.event_type.to_actor().map(escape),
        row.event.event_type.to_port().map(escape),
        escaped(&row.event.data.port),
        escaped(&row.event.data.error),
        row.message().map(|message| escape(&message.message_type)),
        row.message().map(|message| message.size_bytes.cast_signed()),
        row.message().filter(|message| !message.checksum.is_empty()).map(|message| escape(&message.checksum)),
        row.message()
            .filter(|message| !message.serialized_data.is_empty())
            .map(|message| message.serialized_data.as_slice()),
        row.state().map(|state| state.diff_type.name()),
        row.state().and_then(|state| state.before.as_deref()),
        row.state().map(|state| state.after.as_slice()),
        metric(row.event.data.performance_metrics.execution_time_ns),
        metric(row.event.data.performance_metrics.memory_usage_bytes),
        row.event.data.performance_metrics.cpu_usage_percent.filter(|percent| percent.to_bits() != 0),
        metric(row.event.data.performance_metrics.queue_depth),
        row.event.data.performance_metrics.throughput_msgs_per_sec.filter(|rate| rate.to_bits() != 0),
        row.attributes.as_deref(),
        row.event.causality.parent_event_id.map(|parent| parent.0),
        row.event.causality.root_cause_event_id.0,
        row.dependency_chain.as_deref(),
        row.span_uuid,
        row.span_uuid.is_none().then(|| escape(&row.event.causality.span_id)),
        row.unmeasured(),
        row.additions.more.as_deref(),
    )
}

/// The event in a row of `sql/get_events.sql`.
pub(super) fn read(row: &PgRow) -> sqlx::Result<TraceEvent> {
    let mut event = TraceEvent {
        event_id: EventId(row.try_get(0)?),
        timestamp: DateTime::from_timestamp_nanos(row.try_get(1)?),
        event_type: event_type(row)?,
        actor_id: text(row, 3)?,
        data: TraceEventData {
            port: optional_text(row, 6)?,
            error: optional_text(row, 7)?,
            message: message(row)?,
            state_diff: state_diff(row)?,
            performance_metrics: PerformanceMetrics {
                execution_time_ns: Some(from_bits(row, 15)?),
                memory_usage_bytes: Some(from_bits(row, 16)?),
                cpu_usage_percent: row.try_get::<Option<f32>, _>(17)?.or(Some(0.0)),
                queue_depth: Some(from_bits(row, 18)?),
                throughput_msgs_per_sec: row.try_get::<Option<f64>, _>(19)?.or(Some(0.0)),
                more: More::EMPTY,
            },
            custom_attributes: match row.try_get::<Option<&str>, _>(20)? {
                None => Default::default(),
                Some(_) => json(row, 20)?,
            },
            more: More::EMPTY,
        },
        causality: CausalityInfo {
            parent_event_id: row.try_get::<Option<Uuid>, _>(21)?.map(EventId),
            root_cause_event_id: EventId(row.try_get(22)?),
            dependency_chain: dependency_chain(row)?,
            span_id: match row.try_get::<Option<Uuid>, _>(24)? {
                Some(uuid) => uuid.to_string(),
                None => text(row, 25)?,
            },
            more: More::EMPTY,
        },
        more: More::EMPTY,
    };
    let unmeasured = row.try_get::<Option<i16>, _>(26)?.unwrap_or(0).try_into().map_err(invalid)?;
    let additions = Additions { unmeasured, more: row.try_get(27)? };
    event.add(&additions).map_err(invalid)?;
    Ok(event)
}

fn event_type(row: &PgRow) -> sqlx::Result<TraceEventType> {
    let kind = row.try_get::<&str, _>(2)?.parse().map_err(|error: String| invalid(error))?;
    TraceEventType::from_columns(kind, || Ok((text(row, 4)?, text(row, 5)?)))
}

fn message(row: &PgRow) -> sqlx::Result<Option<MessageSnapshot>> {
    let Some(message_type) = optional_text(row, 8)? else { return Ok(None) };
    Ok(Some(MessageSnapshot {
        message_type,
        size_bytes: from_bits(row, 9)?,
        checksum: optional_text(row, 10)?.unwrap_or_default(),
        serialized_data: row.try_get::<Option<Vec<u8>>, _>(11)?.unwrap_or_default(),
        more: More::EMPTY,
    }))
}

fn state_diff(row: &PgRow) -> sqlx::Result<Option<StateDiff>> {
    let Some(diff_type) = row.try_get::<Option<&str>, _>(12)? else { return Ok(None) };
    let diff_type = diff_type.parse().map_err(|error: String| invalid(error))?;
    Ok(Some(StateDiff { before: row.try_get(13)?, after: row.try_get(14)?, diff_type, more: More::EMPTY }))
}

fn dependency_chain(row: &PgRow) -> sqlx::Result<Vec<EventId>> {
    let bytes = row.try_get::<Option<&[u8]>, _>(23)?.unwrap_or_default();
    bytes.chunks(16).map(|id| Uuid::from_slice(id).map(EventId).map_err(invalid)).collect()
}
