//! An event as a row of the table `events`.

use std::borrow::Cow;

use chrono::DateTime;
use clickhouse::Row;
use reflow_tracing_model::{
    Additions, CausalityInfo, EventId, EventKey, MessageSnapshot, More, PerformanceMetrics, StateDiff, TraceEvent,
    TraceEventData, TraceEventType, TraceId, time,
};
use reflow_tracing_storage::StorageError;
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use uuid::Uuid;

/// A UUID in the server's row format.
pub(super) type Id = (u64, u64);

/// The UUID of an id.
pub(super) fn uuid(id: Id) -> Uuid {
    Uuid::from_u64_pair(id.0, id.1)
}

/// The row of an event. The server adds its rank.
#[derive(Row, Serialize)]
pub(super) struct EventRow<'a> {
    trace_id: Id,
    timestamp: i64,
    event_id: Id,
    event_type: &'static str,
    actor_id: &'a str,
    to_actor: &'a str,
    to_port: &'a str,
    port: Option<&'a str>,
    error: Option<&'a str>,
    message_type: Option<&'a str>,
    message_size: u64,
    message_checksum: &'a str,
    #[serde(with = "serde_bytes")]
    message_data: &'a [u8],
    state_kind: &'static str,
    state_before: Option<&'a Bytes>,
    #[serde(with = "serde_bytes")]
    state_after: &'a [u8],
    execution_time_ns: u64,
    memory_usage_bytes: u64,
    cpu_usage_percent: f32,
    queue_depth: u64,
    throughput_msgs_per_sec: f64,
    attributes: Cow<'a, str>,
    parent_event_id: Option<Id>,
    root_event_id: Id,
    dependency_chain: Vec<Id>,
    span_uuid: Id,
    span_text: &'a str,
    repeated: bool,
    unmeasured: u8,
    more: String,
}

impl<'a> EventRow<'a> {
    /// `repeated` says that the event is probably stored already.
    pub(super) fn new(trace_id: TraceId, event: &'a TraceEvent, repeated: bool) -> Result<Self, StorageError> {
        let TraceEvent { event_id, timestamp, event_type, actor_id, data, causality, .. } = event;
        let metrics = &data.performance_metrics;
        let (message, state) = (data.message.as_ref(), data.state_diff.as_ref());
        // The nil UUID stands for a span id that is another text.
        let span_uuid = causality.span_uuid().filter(|uuid| !uuid.is_nil());
        let Additions { unmeasured, more } = event.additions();
        Ok(Self {
            trace_id: trace_id.0.as_u64_pair(),
            timestamp: time::nanos(*timestamp),
            event_id: event_id.0.as_u64_pair(),
            event_type: event_type.kind().name(),
            actor_id,
            to_actor: event_type.to_actor().unwrap_or_default(),
            to_port: event_type.to_port().unwrap_or_default(),
            port: data.port.as_deref(),
            error: data.error.as_deref(),
            message_type: message.map(|message| message.message_type.as_str()),
            message_size: message.map_or(0, |message| message.size_bytes),
            message_checksum: message.map_or("", |message| &message.checksum),
            message_data: message.map_or(&[], |message| &message.serialized_data),
            state_kind: state.map_or("", |state| state.diff_type.name()),
            state_before: state.and_then(|state| state.before.as_deref()).map(Bytes::new),
            state_after: state.map_or(&[], |state| &state.after),
            execution_time_ns: metrics.execution_time_ns.unwrap_or_default(),
            memory_usage_bytes: metrics.memory_usage_bytes.unwrap_or_default(),
            cpu_usage_percent: metrics.cpu_usage_percent.unwrap_or_default(),
            queue_depth: metrics.queue_depth.unwrap_or_default(),
            throughput_msgs_per_sec: metrics.throughput_msgs_per_sec.unwrap_or_default(),
            attributes: match data.custom_attributes.is_empty() {
                true => "".into(),
                false => serde_json::to_string(&data.custom_attributes)?.into(),
            },
            parent_event_id: causality.parent_event_id.map(|parent| parent.0.as_u64_pair()),
            root_event_id: causality.root_cause_event_id.0.as_u64_pair(),
            dependency_chain: causality.dependency_chain.iter().map(|event_id| event_id.0.as_u64_pair()).collect(),
            span_uuid: span_uuid.map_or((0, 0), |uuid| uuid.as_u64_pair()),
            span_text: if span_uuid.is_some() { "" } else { &causality.span_id },
            repeated,
            unmeasured,
            more: more.unwrap_or_default(),
        })
    }
}

/// The columns that a [`StoredEvent`] is read from.
pub(super) const COLUMNS: &str = "trace_id, timestamp, event_id, event_type, actor_id, to_actor, to_port, port, error, \
    message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after, \
    execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput_msgs_per_sec, attributes, \
    parent_event_id, root_event_id, dependency_chain, span_uuid, span_text, unmeasured, more, rank";

/// A row of [`COLUMNS`].
#[derive(Row, Deserialize)]
pub(super) struct StoredEvent {
    trace_id: Id,
    timestamp: i64,
    event_id: Id,
    event_type: String,
    actor_id: String,
    to_actor: String,
    to_port: String,
    port: Option<String>,
    error: Option<String>,
    message_type: Option<String>,
    message_size: u64,
    message_checksum: String,
    #[serde(with = "serde_bytes")]
    message_data: Vec<u8>,
    state_kind: String,
    #[serde(with = "serde_bytes")]
    state_before: Option<Vec<u8>>,
    #[serde(with = "serde_bytes")]
    state_after: Vec<u8>,
    execution_time_ns: u64,
    memory_usage_bytes: u64,
    cpu_usage_percent: f32,
    queue_depth: u64,
    throughput_msgs_per_sec: f64,
    attributes: String,
    parent_event_id: Option<Id>,
    root_event_id: Id,
    dependency_chain: Vec<Id>,
    span_uuid: Id,
    span_text: String,
    unmeasured: u8,
    more: String,
    rank: u64,
}

impl StoredEvent {
    pub(super) fn trace_id(&self) -> TraceId {
        TraceId(uuid(self.trace_id))
    }

    pub(super) fn key(&self) -> EventKey {
        (self.timestamp, EventId(uuid(self.event_id)))
    }

    /// The event. Fails if another program wrote the row.
    pub(super) fn event(self) -> Result<TraceEvent, StorageError> {
        let corrupt =
            |problem: String| StorageError::Corrupt(format!("in an event of trace {}: {problem}", uuid(self.trace_id)));
        let kind = self.event_type.parse().map_err(corrupt)?;
        let attributes = match self.attributes.as_str() {
            "" => Default::default(),
            json => serde_json::from_str(json).map_err(|error| corrupt(error.to_string()))?,
        };
        let diff_type = match self.state_kind.as_str() {
            "" => None,
            name => Some(name.parse().map_err(corrupt)?),
        };
        let additions =
            Additions { unmeasured: self.unmeasured, more: Some(self.more).filter(|json| !json.is_empty()) };
        let mut event = TraceEvent {
            event_id: EventId(uuid(self.event_id)),
            timestamp: DateTime::from_timestamp_nanos(self.timestamp),
            event_type: TraceEventType::from_columns(kind, || Ok::<_, StorageError>((self.to_actor, self.to_port)))?,
            actor_id: self.actor_id,
            data: TraceEventData {
                port: self.port,
                message: self.message_type.map(|message_type| MessageSnapshot {
                    message_type,
                    size_bytes: self.message_size,
                    checksum: self.message_checksum,
                    serialized_data: self.message_data,
                    more: More::EMPTY,
                }),
                state_diff: diff_type.map(|diff_type| StateDiff {
                    before: self.state_before,
                    after: self.state_after,
                    diff_type,
                    more: More::EMPTY,
                }),
                error: self.error,
                performance_metrics: PerformanceMetrics {
                    execution_time_ns: Some(self.execution_time_ns),
                    memory_usage_bytes: Some(self.memory_usage_bytes),
                    cpu_usage_percent: Some(self.cpu_usage_percent),
                    queue_depth: Some(self.queue_depth),
                    throughput_msgs_per_sec: Some(self.throughput_msgs_per_sec),
                    more: More::EMPTY,
                },
                custom_attributes: attributes,
                more: More::EMPTY,
            },
            causality: CausalityInfo {
                parent_event_id: self.parent_event_id.map(|parent| EventId(uuid(parent))),
                root_cause_event_id: EventId(uuid(self.root_event_id)),
                dependency_chain: self.dependency_chain.into_iter().map(|event_id| EventId(uuid(event_id))).collect(),
                span_id: match self.span_uuid {
                    (0, 0) => self.span_text,
                    id => uuid(id).to_string(),
                },
                more: More::EMPTY,
            },
            more: More::EMPTY,
        };
        event.add(&additions).map_err(corrupt)?;
        Ok(event)
    }
}

/// The events of one trace in order and without duplicates: of several rows with one key, the first stored counts.
pub(super) fn in_order(mut rows: Vec<StoredEvent>) -> Result<Vec<TraceEvent>, StorageError> {
    rows.sort_unstable_by_key(|row| (row.key(), std::cmp::Reverse(row.rank)));
    rows.dedup_by_key(|row| row.key());
    rows.into_iter().map(StoredEvent::event).collect()
}
