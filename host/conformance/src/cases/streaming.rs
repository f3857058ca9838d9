use chrono::TimeDelta;
use futures::TryStreamExt;

use super::super::case::{cases, ensure};
use super::super::compare::{same, same_traces};
use super::super::history::{all_headers, all_streamed};
use super::super::{Outcome, Store};
use super::sample::{ORDERS, event, event_of, trace, trace_id, with_data, with_events};
use reflow_tracing_model::{FlowTrace, MessageSnapshot, SortOrder, TraceEvent, TraceEventData, TraceId, TraceQuery};
use reflow_tracing_storage::{StorageBackendExt, StorageError};

cases! { "streaming":
    headers_are_what_pages_are_without_events => "query_headers returns the headers that query_page returns, page by page.",
    a_stream_gives_every_trace_whole_and_in_order => "stream_traces returns every matching trace, regardless of the window.",
    a_stream_of_nothing_ends => "stream_traces is empty when nothing matches.",
    a_large_trace_is_streamed_in_pieces => "Each part of a stream is bounded; together the parts are the whole trace.",
    large_events_are_streamed => "Events may be large.",
    a_query_that_makes_no_sense_is_not_streamed => "An invalid query is an invalid argument for a stream too.",
    a_stream_that_is_dropped_leaves_a_store_at_work => "A stream may be dropped before its end.",
    what_is_stored_meanwhile_hides_nothing_from_a_stream => "A trace that exists throughout is in the stream once.",
    traces_without_a_header_are_listed_until_they_have_one => "headerless_traces lists them ascending, or fails with Unsupported.",
    retention_leaves_the_present_alone => "retention_horizon lies in the past.",
}

fn sample() -> Vec<FlowTrace> {
    (0..25).map(|number| with_events(trace(number), (0..number % 4).map(|each| event(number * 4 + each)))).collect()
}

fn ordered(mut traces: Vec<FlowTrace>, order: SortOrder) -> Vec<FlowTrace> {
    if order == SortOrder::NewestFirst {
        traces.reverse();
    }
    traces
}

async fn headers_are_what_pages_are_without_events(store: &Store) -> Outcome {
    store.store_traces(sample()).await?;
    for order in ORDERS {
        let query = TraceQuery { limit: Some(7), offset: Some(2), order, ..TraceQuery::default() };
        let headers = all_headers(&**store, query).await?;
        let expected = ordered(sample(), order).into_iter().skip(2).map(|trace| with_events(trace, []));
        same_traces(format!("headers, {order:?}"), &headers, &expected.collect::<Vec<_>>())?;
    }
    let of_actor = TraceQuery { actor_filter: Some("actor-5".into()), ..TraceQuery::default() };
    let expected: Vec<_> = store.query_page(of_actor.clone().into()).await?.traces;
    ensure!(!expected.is_empty(), "expected traces with an actor-5, found none");
    let expected: Vec<_> = expected.into_iter().map(|trace| with_events(trace, [])).collect();
    same_traces("headers of traces with an actor", &store.query_headers(of_actor).await?.traces, &expected)
}

async fn a_stream_gives_every_trace_whole_and_in_order(store: &Store) -> Outcome {
    store.store_traces(sample()).await?;
    for order in ORDERS {
        let query = TraceQuery { limit: Some(3), offset: Some(2), order, ..TraceQuery::default() };
        let streamed = all_streamed(&**store, query).await?;
        same_traces(format!("the stream, {order:?}"), &streamed, &ordered(sample(), order))?;
    }
    let range = (trace(5).start_time, trace(20).start_time);
    let query = TraceQuery { time_range: Some(range), order: SortOrder::OldestFirst, ..TraceQuery::default() };
    same_traces("the stream of a time range", &all_streamed(&**store, query).await?, &sample()[5..=20])
}

async fn a_stream_of_nothing_ends(store: &Store) -> Outcome {
    same_traces("the stream", &all_streamed(&**store, TraceQuery::default()).await?, &[])
}

/// More events than a part of a stream may have.
const MANY: u32 = 12_345;

async fn a_large_trace_is_streamed_in_pieces(store: &Store) -> Outcome {
    let many: Vec<_> = (0..MANY).map(event).collect();
    let around = [trace(1), with_events(trace(3), [event(1)])];
    store.store_traces(around.to_vec()).await?;
    for part in many.chunks(5_000) {
        store.store_events(part.iter().map(|event| (trace_id(2), event.clone())).collect()).await?;
    }
    store.store_trace(trace(2)).await?;
    let [before, after] = around;
    let expected = [before, with_events(trace(2), many.clone()), after];
    let query = TraceQuery { order: SortOrder::OldestFirst, ..TraceQuery::default() };
    same_traces("the stream", &all_streamed(&**store, query).await?, &expected)?;
    let events: Vec<TraceEvent> = store.stream_events(trace_id(2)).try_collect().await?;
    same("stream_events", &events, &many)
}

async fn large_events_are_streamed(store: &Store) -> Outcome {
    let large = |number: u32| {
        let message = MessageSnapshot { serialized_data: vec![number as u8; 400_000], ..MessageSnapshot::default() };
        with_data(number, TraceEventData { message: Some(message), ..TraceEventData::default() })
    };
    let traces: Vec<_> = (0..2).map(|of| with_events(trace(of), (0..12).map(large))).collect();
    store.store_traces(traces.clone()).await?;
    let query = TraceQuery { order: SortOrder::OldestFirst, ..TraceQuery::default() };
    same_traces("the stream", &all_streamed(&**store, query).await?, &traces)
}

async fn a_query_that_makes_no_sense_is_not_streamed(store: &Store) -> Outcome {
    let range = (trace(2).start_time, trace(1).start_time);
    let query = TraceQuery { time_range: Some(range), ..TraceQuery::default() };
    let headers = store.query_headers(query.clone()).await.map(|_| ());
    let streamed = store.stream_traces(query).try_for_each(|_| std::future::ready(Ok(()))).await;
    for (call, outcome) in [("query_headers", headers), ("stream_traces", streamed)] {
        let refused = matches!(outcome, Err(StorageError::InvalidArgument(_)));
        ensure!(refused, "{call}: expected InvalidArgument, found {outcome:?}");
    }
    Ok(())
}

async fn a_stream_that_is_dropped_leaves_a_store_at_work(store: &Store) -> Outcome {
    store.store_traces(sample()).await?;
    let many: Vec<_> = (0..6_000).map(|number| (trace_id(3), event(number))).collect();
    store.store_events(many).await?;
    for taken in [0, 1, 2, 7, 12] {
        for _ in 0..12 {
            let mut parts = store.stream_traces(TraceQuery::default());
            for _ in 0..taken {
                parts.try_next().await?;
            }
            drop(parts);
            let mut events = store.stream_events(trace_id(3));
            for _ in 0..taken {
                events.try_next().await?;
            }
        }
    }
    store.store_trace(trace(100)).await?;
    same("get_trace", &store.get_trace(trace_id(100)).await?, &Some(trace(100)))
}

async fn what_is_stored_meanwhile_hides_nothing_from_a_stream(store: &Store) -> Outcome {
    let old: Vec<_> = (0..60).map(|number| with_events(trace(number * 2), [event(number)])).collect();
    store.store_traces(old.clone()).await?;
    let query = TraceQuery { order: SortOrder::OldestFirst, ..TraceQuery::default() };
    let mut parts = store.stream_traces(query);
    let mut seen: Vec<TraceId> = Vec::new();
    let mut number = 0;
    while let Some(part) = parts.try_next().await? {
        if let reflow_tracing_storage::TracePart::Header(header) = part {
            seen.push(header.trace_id);
            store.store_trace(trace(number * 2 + 1)).await?;
            store.store_event(header.trace_id, event_of(500 + number, "late")).await?;
            number += 1;
        }
    }
    let stayed: Vec<_> = seen.into_iter().filter(|id| old.iter().any(|trace| trace.trace_id == *id)).collect();
    same("the traces that were there", &stayed, &old.iter().map(|trace| trace.trace_id).collect::<Vec<_>>())
}

async fn traces_without_a_header_are_listed_until_they_have_one(store: &Store) -> Outcome {
    let mut expected: Vec<_> = (1..=5).map(trace_id).collect();
    expected.sort_unstable();
    store.store_trace(with_events(trace(9), [event(9)])).await?;
    store.store_events(expected.iter().map(|trace_id| (*trace_id, event(1))).collect()).await?;
    let first = match store.headerless_traces(None, 2).await {
        Err(StorageError::Unsupported(_)) => return Ok(()),
        found => found?,
    };
    same("the first two", &first, &expected[..2].to_vec())?;
    same("those after them", &store.headerless_traces(first.last().copied(), 10).await?, &expected[2..].to_vec())?;
    same("none of none", &store.headerless_traces(None, 0).await?, &Vec::new())?;
    let one = (1..=5).find(|number| trace_id((*number).into()) == expected[1]).unwrap_or_default();
    store.store_trace(trace(one)).await?;
    expected.remove(1);
    same("those that are left", &store.headerless_traces(None, 10).await?, &expected)
}

async fn retention_leaves_the_present_alone(store: &Store) -> Outcome {
    let soon = chrono::Utc::now() - TimeDelta::minutes(1);
    let horizon = store.retention_horizon();
    ensure!(horizon.is_none_or(|horizon| horizon < soon), "expected a time in the past, found {horizon:?}");
    Ok(())
}
