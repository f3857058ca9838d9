//! An event as a row of the table `event`.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement, ToSql, params};
use uuid::Uuid;

use super::column::{from_bits, from_real, id, invalid, json, nanoseconds, optional_id, to_bits, to_real};
use reflow_tracing_model::{
    Additions, CausalityInfo, EventId, MessageSnapshot, More, PerformanceMetrics, StateDiff, TraceEvent,
    TraceEventData, TraceEventType, TraceId, time,
};
use reflow_tracing_storage::StorageError;

/// An event. The costly encodings are done before the event reaches the writer thread.
pub(super) struct EventRow {
    pub trace_id: TraceId,
    event: TraceEvent,
    attributes: Option<String>,
    dependency_chain: Option<Vec<u8>>,
    span_uuid: Option<Uuid>,
    additions: Additions,
}

impl EventRow {
    /// About the memory that it takes up.
    pub(super) fn bytes(&self) -> usize {
        self.event.approximate_bytes()
    }

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

    /// Runs `sql/store_event.sql`.
    pub(super) fn store(&self, statement: &mut Statement<'_>, sequence: i64) -> rusqlite::Result<()> {
        let TraceEvent { event_id, timestamp, event_type, actor_id, data, causality, .. } = &self.event;
        let message = data.message.as_ref();
        let state = data.state_diff.as_ref();
        let metrics = &data.performance_metrics;
        let span_id: &dyn ToSql = match &self.span_uuid {
            Some(uuid) => &Blob(uuid.as_bytes()),
            None => &causality.span_id,
        };
        statement.execute(params![
            sequence,
            event_id.0.as_bytes(),
            time::nanos(*timestamp),
            event_type.kind().name(),
            actor_id,
            event_type.to_actor(),
            event_type.to_port(),
            data.port,
            data.error,
            message.map(|message| &message.message_type),
            message.map(|message| message.size_bytes.cast_signed()),
            message.map(|message| &message.checksum).filter(|checksum| !checksum.is_empty()),
            message.map(|message| &message.serialized_data).filter(|bytes| !bytes.is_empty()),
            state.map(|state| state.diff_type.name()),
            state.and_then(|state| state.before.as_ref()),
            state.map(|state| &state.after),
            to_bits(metrics.execution_time_ns.unwrap_or_default()),
            to_bits(metrics.memory_usage_bytes.unwrap_or_default()),
            to_real(metrics.cpu_usage_percent.unwrap_or_default().into()),
            to_bits(metrics.queue_depth.unwrap_or_default()),
            to_real(metrics.throughput_msgs_per_sec.unwrap_or_default()),
            self.attributes,
            causality.parent_event_id.as_ref().map(|parent| Blob(parent.0.as_bytes())),
            causality.root_cause_event_id.0.as_bytes(),
            self.dependency_chain,
            span_id,
            (self.additions.unmeasured != 0).then_some(self.additions.unmeasured),
            self.additions.more,
        ])?;
        Ok(())
    }
}

struct Blob<'a>(&'a [u8]);

impl ToSql for Blob<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0)))
    }
}

/// The event in a row of `sql/get_events.sql`.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<TraceEvent> {
    let mut event = TraceEvent {
        event_id: EventId(id(row, 0)?),
        timestamp: nanoseconds(row.get(1)?),
        event_type: event_type(row)?,
        actor_id: row.get(3)?,
        data: TraceEventData {
            port: row.get(6)?,
            error: row.get(7)?,
            message: message(row)?,
            state_diff: state_diff(row)?,
            performance_metrics: PerformanceMetrics {
                execution_time_ns: Some(from_bits(row, 15)?),
                memory_usage_bytes: Some(from_bits(row, 16)?),
                // It was an f32 when it was stored, so the conversion is exact.
                cpu_usage_percent: Some(from_real(row, 17)? as f32),
                queue_depth: Some(from_bits(row, 18)?),
                throughput_msgs_per_sec: Some(from_real(row, 19)?),
                more: More::EMPTY,
            },
            custom_attributes: match row.get_ref(20)? {
                ValueRef::Null => Default::default(),
                _ => json(row, 20)?,
            },
            more: More::EMPTY,
        },
        causality: CausalityInfo {
            parent_event_id: optional_id(row, 21)?.map(EventId),
            root_cause_event_id: EventId(id(row, 22)?),
            dependency_chain: dependency_chain(row)?,
            span_id: match row.get_ref(24)? {
                ValueRef::Blob(_) => id(row, 24)?.to_string(),
                _ => row.get(24)?,
            },
            more: More::EMPTY,
        },
        more: More::EMPTY,
    };
    let additions = Additions { unmeasured: row.get::<_, Option<u8>>(25)?.unwrap_or(0), more: row.get(26)? };
    event.add(&additions).map_err(|problem| invalid(26, problem))?;
    Ok(event)
}

fn event_type(row: &Row<'_>) -> rusqlite::Result<TraceEventType> {
    let kind = row.get_ref(2)?.as_str().map_err(|error| invalid(2, error))?.parse();
    TraceEventType::from_columns(kind.map_err(|error: String| invalid(2, error))?, || Ok((row.get(4)?, row.get(5)?)))
}

fn message(row: &Row<'_>) -> rusqlite::Result<Option<MessageSnapshot>> {
    let Some(message_type) = row.get(8)? else { return Ok(None) };
    Ok(Some(MessageSnapshot {
        message_type,
        size_bytes: from_bits(row, 9)?,
        checksum: row.get::<_, Option<String>>(10)?.unwrap_or_default(),
        serialized_data: row.get::<_, Option<Vec<u8>>>(11)?.unwrap_or_default(),
        more: More::EMPTY,
    }))
}

fn state_diff(row: &Row<'_>) -> rusqlite::Result<Option<StateDiff>> {
    let diff_type = match row.get_ref(12)? {
        ValueRef::Null => return Ok(None),
        name => name.as_str().map_err(|error| invalid(12, error))?.parse(),
    };
    let diff_type = diff_type.map_err(|error: String| invalid(12, error))?;
    Ok(Some(StateDiff { before: row.get(13)?, after: row.get(14)?, diff_type, more: More::EMPTY }))
}

fn dependency_chain(row: &Row<'_>) -> rusqlite::Result<Vec<EventId>> {
    let bytes = match row.get_ref(23)? {
        ValueRef::Null => return Ok(Vec::new()),
        bytes => bytes.as_blob().map_err(|error| invalid(23, error))?,
    };
    let ids = bytes.chunks(16).map(|id| Uuid::from_slice(id).map(EventId).map_err(|error| invalid(23, error)));
    ids.collect()
}
