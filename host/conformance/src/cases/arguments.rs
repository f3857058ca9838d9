use chrono::{DateTime, Utc};
use serde_json::json;

use super::super::case::{cases, ensure};
use super::super::compare::same;
use super::super::{Failure, Outcome, Store};
use super::sample::{comes_back, event, event_of, finds, holds, trace, trace_id, with_attribute, with_events};
use super::shapes::nested;
use reflow_tracing_model::{FlowId, FlowTrace, MAX_NAME_BYTES, TraceEvent, TraceQuery};
use reflow_tracing_storage::{StorageBackendExt, StorageError};

cases! { "arguments":
    numbers_that_json_has_no_word_for_are_refused => "NaN and the infinities can't be kept, so they are refused.",
    names_over_the_limit_are_refused => "A flow or actor name over the limit is refused.",
    times_out_of_range_are_refused => "A time that does not fit into 64-bit nanoseconds is refused.",
    leap_seconds_are_refused => "A time within a leap second has no nanosecond count of its own, so it is refused.",
    attributes_that_nest_too_deep_are_refused => "An attribute that nests deeper than the limit is refused.",
    a_refused_event_leaves_its_trace_as_it_was => "An invalid argument changes nothing, neither the header nor the other events.",
    a_batch_with_a_refused_event_is_refused_whole => "An invalid argument changes nothing, even in the middle of a batch.",
    a_batch_with_a_refused_trace_is_refused_whole => "An invalid argument changes nothing, even in the middle of a batch.",
    a_limit_over_the_maximum_is_refused => "A limit over 10,000 is an invalid argument, not a shorter answer.",
    a_time_range_that_ends_before_it_starts_is_refused => "An inconsistent query is an invalid argument.",
    a_refusal_says_that_a_retry_is_no_help => "Errors say whether a retry can help; an invalid argument stays one.",
}

/// Fails unless the call refused its argument.
#[track_caller]
fn refused<T>(call: &str, answer: Result<T, StorageError>) -> Outcome {
    match answer {
        Err(StorageError::InvalidArgument(_)) => Ok(()),
        Err(other) => Err(Failure::here(format_args!("{call}: expected InvalidArgument, found {other:?}"))),
        Ok(_) => Err(Failure::here(format_args!("{call}: expected InvalidArgument, found success"))),
    }
}

/// Checks that every write refuses the event, and that the write stores nothing.
async fn event_is_refused(store: &Store, what: &str, bad: TraceEvent) -> Outcome {
    let id = trace_id(1);
    refused(&format!("store_event: {what}"), store.store_event(id, bad.clone()).await)?;
    refused(&format!("store_events: {what}"), store.store_events(vec![(id, bad.clone())]).await)?;
    let whole = with_events(trace(1), [event(5), bad]);
    refused(&format!("store_trace: {what}"), store.store_trace(whole.clone()).await)?;
    refused(&format!("store_traces: {what}"), store.store_traces(vec![whole]).await)?;
    nothing_is_stored(store).await
}

async fn header_is_refused(store: &Store, what: &str, bad: FlowTrace) -> Outcome {
    let bad = with_events(bad, [event(5)]);
    refused(&format!("store_trace: {what}"), store.store_trace(bad.clone()).await)?;
    refused(&format!("store_traces: {what}"), store.store_traces(vec![bad]).await)?;
    nothing_is_stored(store).await
}

async fn nothing_is_stored(store: &Store) -> Outcome {
    same("get_trace after a refusal", &store.get_trace(trace_id(1)).await?, &None)?;
    same("get_events after a refusal", &store.get_events(trace_id(1)).await?, &Vec::new())?;
    finds(store, "any trace after a refusal", TraceQuery::default(), &[]).await
}

async fn numbers_that_json_has_no_word_for_are_refused(store: &Store) -> Outcome {
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bad = event(1);
        bad.data.performance_metrics.cpu_usage_percent = Some(number);
        event_is_refused(store, &format!("{number} per cent"), bad).await?;
        let mut bad = event(1);
        bad.data.performance_metrics.throughput_msgs_per_sec = Some(number.into());
        event_is_refused(store, &format!("{number} messages a second"), bad).await?;
    }
    Ok(())
}

async fn names_over_the_limit_are_refused(store: &Store) -> Outcome {
    // The limit is in bytes.
    for long in ["n".repeat(MAX_NAME_BYTES + 1), "é".repeat(MAX_NAME_BYTES / 2 + 1)] {
        event_is_refused(store, "a long actor_id", event_of(1, &long)).await?;
        header_is_refused(store, "a long flow_id", FlowTrace { flow_id: FlowId(long), ..trace(1) }).await?;
    }
    Ok(())
}

async fn times_out_of_range_are_refused(store: &Store) -> Outcome {
    let nanosecond = chrono::TimeDelta::nanoseconds(1);
    let just_over = DateTime::from_timestamp_nanos(i64::MAX) + nanosecond;
    let just_under = DateTime::from_timestamp_nanos(i64::MIN) - nanosecond;
    for time in [just_over, just_under, DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
        time_is_refused(store, time).await?;
    }
    Ok(())
}

async fn time_is_refused(store: &Store, time: DateTime<Utc>) -> Outcome {
    event_is_refused(store, &format!("timestamp {time}"), TraceEvent { timestamp: time, ..event(1) }).await?;
    header_is_refused(store, &format!("start_time {time}"), FlowTrace { start_time: time, ..trace(1) }).await?;
    header_is_refused(store, &format!("end_time {time}"), FlowTrace { end_time: Some(time), ..trace(1) }).await?;
    let mut bad = trace(1);
    bad.version.timestamp = time;
    header_is_refused(store, &format!("version.timestamp {time}"), bad).await
}

async fn leap_seconds_are_refused(store: &Store) -> Outcome {
    // From 2016-12-31T23:59:60Z to the last nanosecond of that second.
    for nanos in [1_000_000_000, 1_500_000_000, 1_999_999_999] {
        let time = DateTime::from_timestamp(1_483_228_799, nanos);
        let time = time.ok_or_else(|| Failure::new("a leap second follows second 59"))?;
        time_is_refused(store, time).await?;
    }
    // The nanoseconds around a leap second are valid.
    let neighbours = [1_483_228_799_999_999_999, 1_483_228_800_000_000_000].map(DateTime::from_timestamp_nanos);
    comes_back(store, FlowTrace { start_time: neighbours[0], end_time: Some(neighbours[1]), ..trace(1) }).await
}

async fn attributes_that_nest_too_deep_are_refused(store: &Store) -> Outcome {
    event_is_refused(store, "101 levels", with_attribute(1, nested(101))).await?;
    event_is_refused(store, "101 levels beside a flat one", with_attribute(1, json!([1, nested(100)]))).await
}

fn bad_event(number: u32) -> TraceEvent {
    event_of(number, &"n".repeat(MAX_NAME_BYTES + 1))
}

async fn a_refused_event_leaves_its_trace_as_it_was(store: &Store) -> Outcome {
    let before = with_events(trace(1), [event(1)]);
    store.store_trace(before.clone()).await?;
    let changed = FlowTrace { flow_id: FlowId::new("changed"), ..with_events(trace(1), [event(2), bad_event(3)]) };
    refused("store_trace", store.store_trace(changed).await)?;
    refused("store_event", store.store_event(trace_id(1), bad_event(4)).await)?;
    holds(store, before).await
}

async fn a_batch_with_a_refused_event_is_refused_whole(store: &Store) -> Outcome {
    store.store_trace(trace(1)).await?;
    let batch = vec![(trace_id(1), event(1)), (trace_id(2), bad_event(2)), (trace_id(3), event(3))];
    refused("store_events", store.store_events(batch).await)?;
    holds(store, trace(1)).await?;
    same("get_events of another trace", &store.get_events(trace_id(3)).await?, &Vec::new())
}

async fn a_batch_with_a_refused_trace_is_refused_whole(store: &Store) -> Outcome {
    let bad = FlowTrace { start_time: DateTime::<Utc>::MAX_UTC, ..trace(2) };
    let batch = vec![with_events(trace(1), [event(1)]), bad, trace(3)];
    refused("store_traces", store.store_traces(batch).await)?;
    finds(store, "any trace after a refusal", TraceQuery::default(), &[]).await?;
    same("get_events after a refusal", &store.get_events(trace_id(1)).await?, &Vec::new())?;
    let batch = vec![with_events(trace(1), [event(1)]), with_events(trace(2), [event(2), bad_event(3)])];
    refused("store_traces", store.store_traces(batch).await)?;
    nothing_is_stored(store).await
}

async fn query_is_refused(store: &Store, query: TraceQuery) -> Outcome {
    refused("query_traces", store.query_traces(query.clone()).await)?;
    refused("query_page", store.query_page(query.clone().into()).await)?;
    refused("count_traces", store.count_traces(query).await)
}

async fn a_limit_over_the_maximum_is_refused(store: &Store) -> Outcome {
    store.store_trace(trace(1)).await?;
    for limit in [TraceQuery::MAX_LIMIT + 1, usize::MAX] {
        query_is_refused(store, TraceQuery { limit: Some(limit), ..TraceQuery::default() }).await?;
    }
    Ok(())
}

async fn a_time_range_that_ends_before_it_starts_is_refused(store: &Store) -> Outcome {
    let (earlier, later) = (trace(1).start_time, trace(2).start_time);
    query_is_refused(store, TraceQuery { time_range: Some((later, earlier)), ..TraceQuery::default() }).await
}

async fn a_refusal_says_that_a_retry_is_no_help(store: &Store) -> Outcome {
    match store.store_event(trace_id(1), bad_event(1)).await {
        Err(error) => ensure!(!error.is_retryable(), "expected no retry to help, found a retryable {error:?}"),
        Ok(()) => ensure!(false, "expected InvalidArgument, found success"),
    }
    Ok(())
}
