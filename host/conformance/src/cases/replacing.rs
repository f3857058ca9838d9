use super::super::case::cases;
use super::super::compare::same;
use super::super::{Outcome, Store};
use super::sample::{at, at_second, event, finds, holds, trace, with_events, with_tags};
use reflow_tracing_model::{ExecutionId, ExecutionStatus, FlowId, FlowTrace, FlowVersion, TraceQuery};
use reflow_tracing_storage::StorageBackendExt;

cases! { "replacing":
    a_later_header_replaces_the_earlier_one => "A trace header that is stored again replaces the earlier one.",
    a_replaced_header_is_found_by_its_new_values_only => "Queries see the stored header, not an earlier one.",
    a_replaced_start_moves_the_trace_in_the_order => "Traces are ordered by the stored start.",
    a_replaced_header_leaves_the_events_alone => "Stored events stay, even those that the new trace does not contain.",
    a_header_may_lose_what_it_had => "A replaced header keeps nothing of the earlier one.",
    replaced_headers_are_counted_once => "A trace is one trace however often its header was stored.",
}

async fn a_later_header_replaces_the_earlier_one(store: &Store) -> Outcome {
    store.store_trace(trace(1)).await?;
    let ended = FlowTrace { status: ExecutionStatus::Completed, end_time: Some(at(9)), ..trace(1) };
    store.store_trace(ended.clone()).await?;
    holds(store, ended).await
}

async fn a_replaced_header_is_found_by_its_new_values_only(store: &Store) -> Outcome {
    let old = with_events(with_tags(trace(1), &[("env", "test"), ("old", "yes")]), [event(1)]);
    let mut new = with_tags(old.clone(), &[("env", "prod")]);
    new.flow_id = FlowId::new("invoices");
    new.execution_id = ExecutionId(uuid::Uuid::from_u128(77));
    new.start_time = at_second(100);
    new.status = ExecutionStatus::Failed { error: "late".into() };
    store.store_trace(old.clone()).await?;
    store.store_trace(new.clone()).await?;
    let by = |trace: &FlowTrace| {
        [
            ("flow", TraceQuery { flow_id: Some(trace.flow_id.clone()), ..TraceQuery::default() }),
            ("execution", TraceQuery { execution_id: Some(trace.execution_id), ..TraceQuery::default() }),
            ("start", TraceQuery { time_range: Some((trace.start_time, trace.start_time)), ..TraceQuery::default() }),
            ("status", TraceQuery { status: Some(trace.status.clone()), ..TraceQuery::default() }),
            ("tags", TraceQuery { tags: trace.metadata.tags.clone(), ..TraceQuery::default() }),
        ]
    };
    for (what, query) in by(&old) {
        finds(store, &format!("traces with the old {what}"), query, &[]).await?;
    }
    for (what, query) in by(&new) {
        finds(store, &format!("traces with the new {what}"), query, &[&new]).await?;
    }
    Ok(())
}

async fn a_replaced_start_moves_the_trace_in_the_order(store: &Store) -> Outcome {
    for number in 1..=3 {
        store.store_trace(trace(number)).await?;
    }
    let moved = FlowTrace { start_time: at_second(10), ..trace(1) };
    store.store_trace(moved.clone()).await?;
    finds(store, "every trace", TraceQuery::default(), &[&moved, &trace(3), &trace(2)]).await
}

async fn a_replaced_header_leaves_the_events_alone(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), (0..5).map(event))).await?;
    let fewer = FlowTrace { status: ExecutionStatus::Completed, ..with_events(trace(1), [event(4), event(7)]) };
    store.store_trace(fewer.clone()).await?;
    let united = with_events(fewer.clone(), [0, 1, 2, 3, 4, 7].map(event));
    holds(store, united.clone()).await?;
    store.store_trace(with_events(fewer, [])).await?;
    holds(store, united).await
}

async fn a_header_may_lose_what_it_had(store: &Store) -> Outcome {
    let mut full = with_tags(trace(1), &[("env", "prod")]);
    full.end_time = Some(at(9));
    full.version.git_hash = Some("3ca0f92".into());
    full.metadata.user_id = Some("ada".into());
    store.store_trace(full).await?;
    store.store_trace(trace(1)).await?;
    holds(store, trace(1)).await
}

async fn replaced_headers_are_counted_once(store: &Store) -> Outcome {
    let version = |major| FlowVersion { major, ..trace(1).version };
    for major in 1..=3 {
        store.store_trace(FlowTrace { version: version(major), start_time: at(major.into()), ..trace(1) }).await?;
    }
    same("count_traces", &store.count_traces(TraceQuery::default()).await?, &1)?;
    let versions = store.flow_versions(FlowId::new("billing")).await?;
    same("flow_versions", &versions, &vec![version(3)])?;
    let stats = store.stats().await?;
    same("stats().traces", &stats.traces, &1)?;
    same("stats().oldest and newest", &(stats.oldest, stats.newest), &(Some(at(3)), Some(at(3))))
}
