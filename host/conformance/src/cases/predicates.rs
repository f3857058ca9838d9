use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::case::cases;
use super::super::{Outcome, Store};
use super::sample::{at, at_second, event, event_of, finds, store_each, trace, with_events, with_tags};
use reflow_tracing_model::{
    ExecutionStatus, FlowId, FlowTrace, TraceEvent, TraceEventData, TraceEventKind, TraceEventType, TraceQuery,
};

cases! { "predicates":
    a_flow_is_matched_exactly => "flow_id matches the whole name, case-sensitively.",
    an_execution_is_matched_exactly => "execution_id matches the trace of that execution.",
    a_time_range_includes_its_bounds => "time_range is inclusive on start_time, to the nanosecond.",
    a_time_range_may_be_wide_open => "The range of all representable times matches everything.",
    a_status_is_matched_exactly => "status matches that status.",
    a_failure_without_an_error_matches_any_failure => "`Failed` with an empty error matches any failure; with another error, only that one.",
    any_of_the_event_types_matches => "event_types matches traces with an event of one of the kinds; an empty list matches nothing.",
    all_of_the_tags_match => "tags matches traces that have all of the tags with these exact values.",
    a_duration_is_between_its_bounds => "min_duration and max_duration are inclusive and match ended traces only.",
    an_error_is_a_failed_trace_a_failed_actor_or_an_events_error => "has_error matches traces that failed, or have a failed actor or an event with an error; `false` matches the others.",
    predicates_combine_with_and => "All predicates that are present must hold.",
    each_predicate_on_events_may_hold_for_another_event => "A predicate on events needs one matching event; two predicates may be met by different events.",
}

fn query() -> TraceQuery {
    TraceQuery::default()
}

async fn a_flow_is_matched_exactly(store: &Store) -> Outcome {
    let flows = ["billing", "Billing", "bill", "billing ", "bill%", "", "b\0", "b"];
    let of = |number: usize| FlowTrace { flow_id: FlowId::new(flows[number]), ..trace(number as u32) };
    store_each(store, &(0..flows.len()).map(of).collect::<Vec<_>>()).await?;
    for (number, flow) in flows.into_iter().enumerate() {
        let of_flow = TraceQuery { flow_id: Some(FlowId::new(flow)), ..query() };
        finds(store, &format!("traces of flow {flow:?}"), of_flow, &[&of(number)]).await?;
    }
    finds(store, "traces of no flow", TraceQuery { flow_id: Some(FlowId::new("illing")), ..query() }, &[]).await
}

async fn an_execution_is_matched_exactly(store: &Store) -> Outcome {
    let again = FlowTrace { execution_id: trace(1).execution_id, ..trace(3) };
    store_each(store, &[trace(1), trace(2), again.clone()]).await?;
    let of = |trace: FlowTrace| TraceQuery { execution_id: Some(trace.execution_id), ..query() };
    finds(store, "traces of a shared execution", of(trace(1)), &[&again, &trace(1)]).await?;
    finds(store, "the trace of an execution", of(trace(2)), &[&trace(2)]).await?;
    finds(store, "traces of an unknown execution", of(trace(9)), &[]).await
}

async fn a_time_range_includes_its_bounds(store: &Store) -> Outcome {
    let traces: Vec<_> =
        [10, 11, 12, 13].map(|nanos| FlowTrace { start_time: at(nanos), ..trace(nanos as u32) }).into();
    store_each(store, &traces).await?;
    let within = |from, to| TraceQuery { time_range: Some((at(from), at(to))), ..query() };
    finds(store, "traces from the second to the third start", within(11, 12), &[&traces[2], &traces[1]]).await?;
    finds(store, "traces of one nanosecond", within(12, 12), &[&traces[2]]).await?;
    finds(store, "traces up to the first start", within(-5, 10), &[&traces[0]]).await?;
    finds(store, "traces before the first start", within(-5, 9), &[]).await?;
    finds(store, "traces after the last start", within(14, 99), &[]).await
}

async fn a_time_range_may_be_wide_open(store: &Store) -> Outcome {
    let starts = [i64::MAX, 0, -1, i64::MIN].map(DateTime::from_timestamp_nanos);
    let traces: Vec<_> = (0..).zip(starts).map(|(n, start_time)| FlowTrace { start_time, ..trace(n) }).collect();
    store_each(store, &traces).await?;
    let always = TraceQuery { time_range: Some((DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC)), ..query() };
    finds(store, "traces of all times", always, &traces.iter().collect::<Vec<_>>()).await?;
    let before_1970 = TraceQuery { time_range: Some((starts[3], starts[2])), ..query() };
    finds(store, "traces before 1970", before_1970, &[&traces[2], &traces[3]]).await
}

fn failed(number: u32, error: &str) -> FlowTrace {
    FlowTrace { status: ExecutionStatus::Failed { error: error.into() }, ..trace(number) }
}

async fn a_status_is_matched_exactly(store: &Store) -> Outcome {
    use ExecutionStatus::*;
    let statuses = [Pending, Running, Completed, Cancelled];
    let traces: Vec<_> =
        (0..).zip(statuses.clone()).map(|(number, status)| FlowTrace { status, ..trace(number) }).collect();
    store_each(store, &traces).await?;
    store.store_trace(failed(9, "Running")).await?;
    for (status, trace) in statuses.into_iter().zip(&traces) {
        let what = format!("traces that are {}", status.name());
        finds(store, &what, TraceQuery { status: Some(status), ..query() }, &[trace]).await?;
    }
    Ok(())
}

async fn a_failure_without_an_error_matches_any_failure(store: &Store) -> Outcome {
    let failures = [failed(1, ""), failed(2, "late"), failed(3, "Late"), failed(4, "late ")];
    store_each(store, &failures).await?;
    store.store_trace(trace(5)).await?;
    let with = |error: &str| TraceQuery { status: Some(ExecutionStatus::Failed { error: error.into() }), ..query() };
    finds(store, "traces that failed", with(""), &failures.iter().rev().collect::<Vec<_>>()).await?;
    finds(store, "traces that failed with an error", with("late"), &[&failures[1]]).await?;
    finds(store, "traces that failed with an unknown error", with("lat"), &[]).await
}

async fn any_of_the_event_types_matches(store: &Store) -> Outcome {
    let typed = |number, event_type| TraceEvent { event_type, ..event(number) };
    let flow = TraceEventType::DataFlow { to_actor: "mailer".into(), to_port: "in".into() };
    let traces = [
        with_events(trace(1), [typed(1, TraceEventType::ActorFailed), typed(2, TraceEventType::MessageSent)]),
        with_events(trace(2), [typed(3, flow)]),
        with_events(trace(3), [typed(4, TraceEventType::MessageSent)]),
        trace(4),
    ];
    store_each(store, &traces).await?;
    let of = |kinds: &[TraceEventKind]| TraceQuery { event_types: Some(kinds.into()), ..query() };
    use TraceEventKind::{ActorFailed, DataFlow, MessageSent, NetworkEvent};
    finds(store, "traces with a failed actor", of(&[ActorFailed]), &[&traces[0]]).await?;
    finds(store, "traces with a flow of data, wherever to", of(&[DataFlow]), &[&traces[1]]).await?;
    finds(store, "traces with either", of(&[DataFlow, MessageSent]), &[&traces[2], &traces[1], &traces[0]]).await?;
    finds(store, "traces with a kind twice asked", of(&[MessageSent, MessageSent]), &[&traces[2], &traces[0]]).await?;
    finds(store, "traces with an absent kind", of(&[NetworkEvent]), &[]).await?;
    finds(store, "traces with one of no kinds", of(&[]), &[]).await
}

async fn all_of_the_tags_match(store: &Store) -> Outcome {
    let traces = [
        with_tags(trace(1), &[("env", "prod"), ("team", "a")]),
        with_tags(trace(2), &[("env", "prod"), ("team", "b")]),
        with_tags(trace(3), &[("env", "Prod")]),
        with_tags(trace(4), &[("env", "")]),
        with_tags(trace(5), &[("prod", "env"), ("a.b[\"c\"]", "\0'%")]),
        trace(6),
    ];
    store_each(store, &traces).await?;
    let with = |tags: &[(&str, &str)]| {
        let tags = tags.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        TraceQuery { tags, ..query() }
    };
    finds(store, "traces with a tag", with(&[("env", "prod")]), &[&traces[1], &traces[0]]).await?;
    finds(store, "traces with both tags", with(&[("env", "prod"), ("team", "a")]), &[&traces[0]]).await?;
    finds(store, "traces with a tag in another case", with(&[("env", "Prod")]), &[&traces[2]]).await?;
    finds(store, "traces with an empty tag", with(&[("env", "")]), &[&traces[3]]).await?;
    finds(store, "traces with a tag of special characters", with(&[("a.b[\"c\"]", "\0'%")]), &[&traces[4]]).await?;
    finds(store, "traces with an absent tag", with(&[("team", "")]), &[]).await?;
    finds(store, "traces with a tag and an absent one", with(&[("env", "prod"), ("prod", "env")]), &[]).await
}

async fn a_duration_is_between_its_bounds(store: &Store) -> Outcome {
    let lasting =
        |number, nanos: i64| FlowTrace { end_time: Some(trace(number).start_time + delta(nanos)), ..trace(number) };
    let traces = [lasting(1, -1), lasting(2, 0), lasting(3, 999), lasting(4, 1_000), lasting(5, 1_001), trace(6)];
    store_each(store, &traces).await?;
    let took = |min: Option<u64>, max: Option<u64>| TraceQuery {
        min_duration: min.map(Duration::from_nanos),
        max_duration: max.map(Duration::from_nanos),
        ..query()
    };
    let [backwards, none, shorter, exact, longer, _] = &traces;
    finds(store, "traces of at least 1 us", took(Some(1_000), None), &[longer, exact]).await?;
    finds(store, "traces of at most 1 us", took(None, Some(1_000)), &[exact, shorter, none, backwards]).await?;
    finds(store, "traces of 1 us", took(Some(1_000), Some(1_000)), &[exact]).await?;
    finds(store, "traces of no negative duration", took(Some(0), None), &[longer, exact, shorter, none]).await?;
    finds(store, "traces of crossed bounds", took(Some(1_001), Some(999)), &[]).await?;
    let ended = TraceQuery { max_duration: Some(Duration::MAX), ..query() };
    finds(store, "ended traces", ended, &[longer, exact, shorter, none, backwards]).await?;
    finds(store, "endless traces", TraceQuery { min_duration: Some(Duration::MAX), ..query() }, &[]).await
}

fn delta(nanos: i64) -> chrono::TimeDelta {
    chrono::TimeDelta::nanoseconds(nanos)
}

fn with_error(number: u32, error: &str) -> TraceEvent {
    TraceEvent { data: TraceEventData { error: Some(error.into()), ..TraceEventData::default() }, ..event(number) }
}

async fn an_error_is_a_failed_trace_a_failed_actor_or_an_events_error(store: &Store) -> Outcome {
    let failed_actor = TraceEvent { event_type: TraceEventType::ActorFailed, ..event(1) };
    let traces = [
        failed(1, ""),
        with_events(trace(2), [event(2), failed_actor]),
        with_events(trace(3), [event(2), with_error(3, "")]),
        with_events(trace(4), [event(2)]),
        FlowTrace { status: ExecutionStatus::Cancelled, ..trace(5) },
    ];
    store_each(store, &traces).await?;
    let with = |has_error| TraceQuery { has_error: Some(has_error), ..query() };
    finds(store, "traces with an error", with(true), &[&traces[2], &traces[1], &traces[0]]).await?;
    finds(store, "traces without an error", with(false), &[&traces[4], &traces[3]]).await
}

async fn predicates_combine_with_and(store: &Store) -> Outcome {
    let fits = with_events(with_tags(failed(5, "late"), &[("env", "prod")]), [event_of(1, "parser")]);
    let misfits = [
        FlowTrace { flow_id: FlowId::new("invoices"), trace_id: trace(1).trace_id, ..fits.clone() },
        FlowTrace { start_time: at_second(50), trace_id: trace(2).trace_id, ..fits.clone() },
        FlowTrace { status: ExecutionStatus::Completed, trace_id: trace(3).trace_id, ..fits.clone() },
        FlowTrace { trace_id: trace(4).trace_id, ..with_events(fits.clone(), [event_of(1, "mailer")]) },
        FlowTrace { trace_id: trace(6).trace_id, ..with_tags(fits.clone(), &[]) },
        FlowTrace {
            trace_id: trace(7).trace_id,
            ..with_events(
                fits.clone(),
                [TraceEvent { event_type: TraceEventType::ActorCreated, ..event_of(1, "parser") }],
            )
        },
    ];
    store.store_trace(fits.clone()).await?;
    store_each(store, &misfits).await?;
    let all = TraceQuery {
        flow_id: Some(fits.flow_id.clone()),
        time_range: Some((at_second(1), at_second(9))),
        status: Some(fits.status.clone()),
        actor_filter: Some("arse".into()),
        event_types: Some(vec![TraceEventKind::MessageSent]),
        tags: fits.metadata.tags.clone(),
        has_error: Some(true),
        ..query()
    };
    finds(store, "traces that meet seven predicates", all, &[&fits]).await
}

async fn each_predicate_on_events_may_hold_for_another_event(store: &Store) -> Outcome {
    let created = TraceEvent { event_type: TraceEventType::ActorCreated, ..event_of(1, "parser") };
    let spread = with_events(trace(1), [created, event_of(2, "mailer"), with_error(3, "late")]);
    store.store_trace(spread.clone()).await?;
    let spread_query = TraceQuery {
        actor_filter: Some("mailer".into()),
        event_types: Some(vec![TraceEventKind::ActorCreated]),
        has_error: Some(true),
        ..query()
    };
    finds(store, "the trace whose events meet them together", spread_query, &[&spread]).await
}
