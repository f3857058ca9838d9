//! Sample values for the cases, built from a number and the same in every run.

use chrono::{DateTime, Utc};

use super::super::compare::{same, same_traces};
use super::super::generate::scattered;
use super::super::{Failure, Outcome, Store};
use reflow_tracing_model::{
    CausalityInfo, EventId, ExecutionId, ExecutionStatus, FlowId, FlowTrace, FlowVersion, SortOrder, TraceEvent,
    TraceEventData, TraceEventType, TraceId, TraceMetadata, TraceQuery,
};
use reflow_tracing_storage::StorageBackendExt;

pub(super) const ORDERS: [SortOrder; 2] = [SortOrder::NewestFirst, SortOrder::OldestFirst];

/// `nanos` nanoseconds after a fixed time in 2025.
pub(super) fn at(nanos: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(1_750_000_000_000_000_000 + nanos)
}

/// `seconds` seconds after the same time.
pub(super) fn at_second(seconds: i64) -> DateTime<Utc> {
    at(seconds * 1_000_000_000)
}

pub(super) fn trace_id(number: u128) -> TraceId {
    TraceId(scattered(number))
}

pub(super) fn event_id(number: u128) -> EventId {
    EventId(scattered(number + 1_000_000))
}

/// A trace without events that started at [`at_second`]`(number)`.
pub(super) fn trace(number: u32) -> FlowTrace {
    FlowTrace {
        trace_id: trace_id(number.into()),
        flow_id: FlowId::new("billing"),
        execution_id: ExecutionId(scattered(u128::from(number) + 2_000_000)),
        version: FlowVersion { major: 1, timestamp: at(0), ..FlowVersion::default() },
        start_time: at_second(number.into()),
        end_time: None,
        status: ExecutionStatus::Running,
        events: Vec::new(),
        metadata: TraceMetadata { environment: "test".into(), ..TraceMetadata::default() },
        ..FlowTrace::default()
    }
}

/// An event `number` milliseconds after [`at`]`(0)`.
pub(super) fn event(number: u32) -> TraceEvent {
    TraceEvent {
        event_id: event_id(number.into()),
        timestamp: at(i64::from(number) * 1_000_000),
        event_type: TraceEventType::MessageSent,
        actor_id: format!("actor-{number}"),
        data: TraceEventData { port: Some("out".into()), ..TraceEventData::default() },
        causality: CausalityInfo { root_cause_event_id: event_id(0), ..CausalityInfo::default() },
        ..TraceEvent::default()
    }
}

/// An event of this actor.
pub(super) fn event_of(number: u32, actor: &str) -> TraceEvent {
    TraceEvent { actor_id: actor.into(), ..event(number) }
}

/// The event with this data.
pub(super) fn with_data(number: u32, data: TraceEventData) -> TraceEvent {
    TraceEvent { data, ..event(number) }
}

/// An event with this attribute and no other data.
pub(super) fn with_attribute(number: u32, value: serde_json::Value) -> TraceEvent {
    let custom_attributes = [("value".to_owned(), value)].into();
    with_data(number, TraceEventData { custom_attributes, ..TraceEventData::default() })
}

/// The trace with these events.
pub(super) fn with_events(trace: FlowTrace, events: impl IntoIterator<Item = TraceEvent>) -> FlowTrace {
    FlowTrace { events: events.into_iter().collect(), ..trace }
}

pub(super) fn with_tags(trace: FlowTrace, tags: &[(&str, &str)]) -> FlowTrace {
    let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    FlowTrace { metadata: TraceMetadata { tags, ..trace.metadata }, ..trace }
}

/// The trace with its events in their order.
pub(super) fn ordered(mut trace: FlowTrace) -> FlowTrace {
    trace.events.sort_by_key(TraceEvent::key);
    trace
}

pub(super) async fn store_each(store: &Store, traces: &[FlowTrace]) -> Outcome {
    for trace in traces {
        store.store_trace(trace.clone()).await?;
    }
    Ok(())
}

/// Stores the trace and checks that every read returns it unchanged.
pub(super) async fn comes_back(store: &Store, trace: FlowTrace) -> Outcome {
    store.store_trace(trace.clone()).await?;
    holds(store, trace).await
}

/// Checks that every read returns exactly this trace.
pub(super) async fn holds(store: &Store, trace: FlowTrace) -> Outcome {
    let expected = ordered(trace);
    let trace_id = expected.trace_id;
    same("get_events", &store.get_events(trace_id).await?, &expected.events)?;
    let found = store.get_trace(trace_id).await?.ok_or_else(|| Failure::new(format!("no trace {trace_id}")))?;
    same("get_trace", &found, &expected)?;
    let of_execution = TraceQuery { execution_id: Some(expected.execution_id), ..TraceQuery::default() };
    same_traces("query_traces by execution", &store.query_traces(of_execution).await?, &[expected])
}

/// Checks that the query, as a whole, as a page and counted, finds these traces in this order.
pub(super) async fn finds(store: &Store, what: &str, query: TraceQuery, expected: &[&FlowTrace]) -> Outcome {
    let expected: Vec<_> = expected.iter().map(|trace| ordered((*trace).clone())).collect();
    same_traces(what, &store.query_traces(query.clone()).await?, &expected)?;
    let page = store.query_page(query.clone().into()).await?;
    same_traces(format!("{what}, as a page"), &page.traces, &expected)?;
    if query.limit.is_none() && query.offset.is_none() {
        same(format!("{what}, counted"), &store.count_traces(query).await?, &(expected.len() as u64))?;
    }
    Ok(())
}
