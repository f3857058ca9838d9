//! Random values for property tests.
//!
//! The `any_*` strategies cover the whole data model; a store must return their values exactly. The others draw from small
//! pools of ids, names and times, so that writes collide and queries match.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use uuid::Uuid;

use reflow_tracing_model::{
    CausalityInfo, EventId, ExecutionId, ExecutionStatus, FlowId, FlowTrace, FlowVersion, MessageSnapshot, More,
    PerformanceMetrics, SortOrder, StateDiff, StateDiffType, TraceEvent, TraceEventData, TraceEventKind,
    TraceEventType, TraceId, TraceMetadata, TraceQuery,
};

/// Any text: empty, plain, with `\u0000`, quotes, wildcards, and every script.
pub fn any_text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        1 => Just(String::new()),
        3 => "[a-z_-]{1,12}",
        3 => vec(any::<char>(), 0..12).prop_map(String::from_iter),
        1 => select(vec!["\0", "a\0b", "%", "_", "'; --", "\"\\\"", "\r\n\t", "\u{feff}", "e\u{301}", "é", "👩‍👩‍👧", "\u{10ffff}"])
            .prop_map(str::to_owned),
    ]
}

/// Any time that a store accepts, with 0, 3, 6 or 9 fraction digits.
pub fn any_time() -> impl Strategy<Value = DateTime<Utc>> + Clone {
    let within = |unit: i64| (i64::MIN / unit..=i64::MAX / unit).prop_map(move |count| count * unit);
    let nanos = prop_oneof![
        within(1_000_000_000),
        within(1_000_000),
        within(1_000),
        within(1),
        select(vec![i64::MIN, -1, 0, 1, i64::MAX]),
    ];
    nanos.prop_map(DateTime::from_timestamp_nanos)
}

fn any_uuid() -> impl Strategy<Value = Uuid> + Clone {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> + Clone {
    prop_oneof![4 => vec(any::<u8>(), 0..24), 1 => Just((0..=255).cycle().take(5_000).collect())]
}

fn any_float() -> impl Strategy<Value = f64> + Clone {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    NORMAL | SUBNORMAL | ZERO | POSITIVE | NEGATIVE
}

fn any_count() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![0..100_u64, any::<u64>(), select(vec![u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1, (1 << 53) + 1])]
}

fn any_json() -> impl Strategy<Value = Value> + Clone {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any_count().prop_map(Value::from),
        any_float().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(any_text(), inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Any type of event.
pub fn any_event_type() -> impl Strategy<Value = TraceEventType> + Clone {
    let data_flow =
        (any_text(), any_text()).prop_map(|(to_actor, to_port)| TraceEventType::DataFlow { to_actor, to_port });
    prop_oneof![
        10 => select(vec![
            TraceEventType::ActorCreated,
            TraceEventType::ActorStarted,
            TraceEventType::ActorCompleted,
            TraceEventType::ActorFailed,
            TraceEventType::MessageSent,
            TraceEventType::MessageReceived,
            TraceEventType::StateChanged,
            TraceEventType::PortConnected,
            TraceEventType::PortDisconnected,
            TraceEventType::NetworkEvent,
        ]),
        1 => data_flow,
    ]
}

/// Any status.
pub fn any_status() -> impl Strategy<Value = ExecutionStatus> + Clone {
    prop_oneof![
        Just(ExecutionStatus::Pending),
        Just(ExecutionStatus::Running),
        Just(ExecutionStatus::Completed),
        Just(ExecutionStatus::Cancelled),
        any_text().prop_map(|error| ExecutionStatus::Failed { error }),
    ]
}

/// Fields that the model does not name; usually none.
fn any_more() -> impl Strategy<Value = More> + Clone {
    let some = btree_map(any_text().prop_map(|text| format!("x_{text}")), any_json(), 1..3);
    option::weighted(0.2, some).prop_map(|fields| fields.into_iter().flatten().collect())
}

/// A metric that was measured or not.
fn measured<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Option<T>> + Clone {
    option::weighted(0.7, value)
}

fn any_data() -> impl Strategy<Value = TraceEventData> + Clone {
    let message = (any_text(), any_count(), any_text(), any_bytes(), any_more()).prop_map(
        |(message_type, size_bytes, checksum, serialized_data, more)| MessageSnapshot {
            message_type,
            size_bytes,
            checksum,
            serialized_data,
            more,
        },
    );
    let diff_type = select(vec![StateDiffType::Full, StateDiffType::Incremental, StateDiffType::MemoryOnly]);
    let state_diff = (option::of(any_bytes()), any_bytes(), diff_type, any_more())
        .prop_map(|(before, after, diff_type, more)| StateDiff { before, after, diff_type, more });
    let percent = any::<f32>().prop_filter("finite", |percent| percent.is_finite());
    let count = || measured(any_count());
    let metrics = (count(), count(), measured(percent), count(), measured(any_float()), any_more()).prop_map(
        |(execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput_msgs_per_sec, more)| {
            PerformanceMetrics {
                execution_time_ns,
                memory_usage_bytes,
                cpu_usage_percent,
                queue_depth,
                throughput_msgs_per_sec,
                more,
            }
        },
    );
    let attributes = btree_map(any_text(), any_json(), 0..3);
    let optional_text = || option::of(any_text());
    let (message, state_diff) = (option::of(message), option::of(state_diff));
    (optional_text(), message, state_diff, optional_text(), metrics, attributes, any_more()).prop_map(
        |(port, message, state_diff, error, performance_metrics, custom_attributes, more)| TraceEventData {
            port,
            message,
            state_diff,
            error,
            performance_metrics,
            custom_attributes,
            more,
        },
    )
}

/// Any event.
pub fn any_event() -> impl Strategy<Value = TraceEvent> + Clone {
    let event_id = || any_uuid().prop_map(EventId);
    let causality = (option::of(event_id()), event_id(), vec(event_id(), 0..3), any_text(), any_more()).prop_map(
        |(parent_event_id, root_cause_event_id, dependency_chain, span_id, more)| CausalityInfo {
            parent_event_id,
            root_cause_event_id,
            dependency_chain,
            span_id,
            more,
        },
    );
    (event_id(), any_time(), any_event_type(), any_text(), any_data(), causality, any_more()).prop_map(
        |(event_id, timestamp, event_type, actor_id, data, causality, more)| TraceEvent {
            event_id,
            timestamp,
            event_type,
            actor_id,
            data,
            causality,
            more,
        },
    )
}

/// Any event of Reflow's first protocol: every metric is measured, and the model names every field.
pub fn any_reflow_event() -> impl Strategy<Value = TraceEvent> + Clone {
    any_event().prop_map(|mut event| {
        let TraceEventData { message, state_diff, performance_metrics, more, .. } = &mut event.data;
        performance_metrics.execution_time_ns.get_or_insert_default();
        performance_metrics.memory_usage_bytes.get_or_insert_default();
        performance_metrics.cpu_usage_percent.get_or_insert_default();
        performance_metrics.queue_depth.get_or_insert_default();
        performance_metrics.throughput_msgs_per_sec.get_or_insert_default();
        let parts = [more, &mut performance_metrics.more, &mut event.causality.more, &mut event.more].into_iter();
        let parts = parts.chain(message.as_mut().map(|message| &mut message.more));
        parts.chain(state_diff.as_mut().map(|state| &mut state.more)).for_each(|more| *more = More::EMPTY);
        event
    })
}

/// Any trace of Reflow's first protocol, with its events in random order.
pub fn any_reflow_trace() -> impl Strategy<Value = FlowTrace> + Clone {
    (any_header(), vec(any_reflow_event(), 0..4)).prop_map(|(mut header, events)| {
        header.version.more = More::EMPTY;
        header.metadata.more = More::EMPTY;
        FlowTrace { events, more: More::EMPTY, ..header }
    })
}

fn any_version() -> impl Strategy<Value = FlowVersion> + Clone {
    (any::<u32>(), any::<u32>(), any::<u32>(), option::of(any_text()), any_time(), any_more()).prop_map(
        |(major, minor, patch, git_hash, timestamp, more)| FlowVersion {
            major,
            minor,
            patch,
            git_hash,
            timestamp,
            more,
        },
    )
}

/// Any header: a trace without events.
pub fn any_header() -> impl Strategy<Value = FlowTrace> + Clone {
    let metadata = (
        option::of(any_text()),
        option::of(any_text()),
        any_text(),
        any_text(),
        any::<u32>(),
        any_text(),
        btree_map(any_text(), any_text(), 0..3),
        any_more(),
    )
        .prop_map(|(user_id, session_id, environment, hostname, process_id, thread_id, tags, more)| {
            TraceMetadata { user_id, session_id, environment, hostname, process_id, thread_id, tags, more }
        });
    let ids = (any_uuid().prop_map(TraceId), any_text().prop_map(FlowId), any_uuid().prop_map(ExecutionId));
    (ids, any_version(), any_time(), option::of(any_time()), any_status(), metadata, any_more()).prop_map(
        |((trace_id, flow_id, execution_id), version, start_time, end_time, status, metadata, more)| FlowTrace {
            trace_id,
            flow_id,
            execution_id,
            version,
            start_time,
            end_time,
            status,
            events: Vec::new(),
            metadata,
            more,
        },
    )
}

/// Any trace, with its events in random order.
pub fn any_trace() -> impl Strategy<Value = FlowTrace> + Clone {
    (any_header(), vec(any_event(), 0..4)).prop_map(|(header, events)| FlowTrace { events, ..header })
}

/// Any query with only Reflow's own fields.
pub fn any_reflow_query() -> impl Strategy<Value = TraceQuery> + Clone {
    (
        option::of(any_text().prop_map(FlowId)),
        option::of(any_uuid().prop_map(ExecutionId)),
        option::of((any_time(), any_time())),
        option::of(any_status()),
        option::of(any_text()),
        option::of(any::<usize>()),
        option::of(any::<usize>()),
    )
        .prop_map(|(flow_id, execution_id, time_range, status, actor_filter, limit, offset)| TraceQuery {
            flow_id,
            execution_id,
            time_range,
            status,
            actor_filter,
            limit,
            offset,
            ..TraceQuery::default()
        })
}

const FLOWS: &[&str] = &["billing", "Billing", "bill", "bill%", ""];
const ACTORS: &[&str] = &["parser", "Parser", "parser-2", "a%b", "a_b", "a*b", "a'b", "a\"b", "日本", "nul\0nul", ""];
const ACTOR_PARTS: &[&str] = &["parser", "P", "ser-", "%", "_", "*", "'", "\"", "\\", "本", "\0", "no such actor", ""];
const TAGS: &[&str] = &["env", "team"];
const TAG_VALUES: &[&str] = &["prod", "Prod", ""];
const ERRORS: &[&str] = &["timeout", "Timeout", ""];
/// Nanoseconds after [`pooled_time`]'s origin: ties, neighbours, and far apart.
const TIMES: &[i64] = &[0, 1, 1_000, 1_000_000_000, 1_000_000_001, 60_000_000_000];

fn text_of(pool: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    select(pool).prop_map(str::to_owned)
}

fn pooled_uuid(count: u128) -> impl Strategy<Value = Uuid> + Clone {
    (1..=count).prop_map(scattered)
}

/// A UUID for a number. The orders of UUIDs and numbers are unrelated.
pub(crate) fn scattered(number: u128) -> Uuid {
    Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// One of a few times.
pub fn pooled_time() -> impl Strategy<Value = DateTime<Utc>> + Clone {
    select(TIMES).prop_map(|nanos| DateTime::from_timestamp_nanos(1_750_000_000_000_000_000 + nanos))
}

fn pooled_status() -> impl Strategy<Value = ExecutionStatus> + Clone {
    prop_oneof![
        select(vec![ExecutionStatus::Running, ExecutionStatus::Completed]),
        text_of(ERRORS).prop_map(|error| ExecutionStatus::Failed { error }),
    ]
}

/// The id of one of a few traces.
pub fn pooled_trace_id() -> impl Strategy<Value = TraceId> + Clone {
    pooled_uuid(12).prop_map(TraceId)
}

/// An event with the id of one of a few, and contents of its own.
pub fn pooled_event() -> impl Strategy<Value = TraceEvent> + Clone {
    let error = option::weighted(0.2, text_of(ERRORS));
    (pooled_uuid(20), pooled_time(), any_event_type(), text_of(ACTORS), error, option::of(any::<u64>())).prop_map(
        |(event_id, timestamp, event_type, actor_id, error, execution_time_ns)| TraceEvent {
            event_id: EventId(event_id),
            timestamp,
            event_type,
            actor_id,
            data: TraceEventData {
                error,
                performance_metrics: PerformanceMetrics { execution_time_ns, ..PerformanceMetrics::default() },
                ..TraceEventData::default()
            },
            causality: CausalityInfo { root_cause_event_id: EventId(event_id), ..CausalityInfo::default() },
            more: More::EMPTY,
        },
    )
}

/// A trace with ids, names and times from small pools.
pub fn pooled_trace() -> impl Strategy<Value = FlowTrace> + Clone {
    (
        pooled_trace_id(),
        text_of(FLOWS),
        pooled_uuid(4),
        0..3_u32,
        pooled_time(),
        option::of(pooled_time()),
        pooled_status(),
        vec(pooled_event(), 0..4),
        pooled_tags(),
    )
        .prop_map(|(trace_id, flow_id, execution_id, major, start_time, end_time, status, events, tags)| {
            FlowTrace {
                trace_id,
                flow_id: FlowId(flow_id),
                execution_id: ExecutionId(execution_id),
                version: FlowVersion { major, ..FlowVersion::default() },
                start_time,
                end_time,
                status,
                events,
                metadata: TraceMetadata { tags, ..TraceMetadata::default() },
                more: More::EMPTY,
            }
        })
}

fn pooled_tags() -> impl Strategy<Value = BTreeMap<String, String>> + Clone {
    btree_map(text_of(TAGS), text_of(TAG_VALUES), 0..3)
}

/// A query that often matches [`pooled_trace`]s: few conditions, small windows.
pub fn pooled_query() -> impl Strategy<Value = TraceQuery> + Clone {
    let at_times = 0.2;
    let range = (pooled_time(), pooled_time()).prop_map(|(one, other)| (one.min(other), one.max(other)));
    let took =
        || option::weighted(at_times, select(TIMES).prop_map(|nanos| Duration::from_nanos(nanos.unsigned_abs())));
    let on_header = (
        option::weighted(at_times, text_of(FLOWS).prop_map(FlowId)),
        option::weighted(at_times, pooled_uuid(4).prop_map(ExecutionId)),
        option::weighted(at_times, range),
        option::weighted(at_times, pooled_status()),
        option::weighted(at_times, btree_map(text_of(TAGS), text_of(TAG_VALUES), 1..2)),
        took(),
        took(),
    );
    let on_events = (
        option::weighted(at_times, text_of(ACTOR_PARTS)),
        option::weighted(at_times, vec(select(TraceEventKind::ALL), 0..5)),
        option::weighted(at_times, any::<bool>()),
    );
    let window = (
        option::of(0..6_usize),
        option::weighted(0.3, 0..5_usize),
        select(vec![SortOrder::NewestFirst, SortOrder::OldestFirst]),
    );
    (on_header, on_events, window).prop_map(
        |(
            (flow_id, execution_id, time_range, status, tags, min_duration, max_duration),
            (actor_filter, event_types, has_error),
            (limit, offset, order),
        )| TraceQuery {
            flow_id,
            execution_id,
            time_range,
            status,
            actor_filter,
            limit,
            offset,
            event_types,
            tags: tags.unwrap_or_default(),
            min_duration,
            max_duration,
            has_error,
            order,
            page_token: None,
        },
    )
}
