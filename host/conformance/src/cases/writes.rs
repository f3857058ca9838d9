use futures::TryStreamExt;
use futures::future::try_join_all;

use super::super::case::{cases, ensure};
use super::super::compare::same;
use super::super::{Failure, Outcome, Store};
use super::sample::{at, event, event_of, finds, holds, trace, trace_id, with_events};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceQuery};

cases! { "writes":
    storing_a_trace_again_changes_nothing => "Writes are idempotent.",
    storing_an_event_again_changes_nothing => "An event is identified by its trace, its timestamp and its event id; storing one again changes nothing.",
    another_event_of_the_same_time_and_id_changes_nothing => "Of two events with one timestamp and id the first stays.",
    one_id_at_two_times_is_two_events => "An event is identified by its timestamp too.",
    events_come_in_their_order_whatever_order_they_were_stored_in => "Events are ordered by timestamp.",
    events_of_one_time_come_by_event_id => "Events with the same timestamp are ordered by ascending event id.",
    events_without_a_header_are_kept => "Events may arrive before the header: get_events returns them, get_trace is `None`.",
    a_header_finds_the_events_that_came_before_it => "Events that came before their header belong to it.",
    two_traces_may_use_the_same_event_id => "An event id identifies an event within its trace only.",
    a_write_is_seen_by_the_next_read => "A read that begins after a write was acknowledged sees it.",
    headers_come_without_events_in_the_order_asked_for => "get_headers returns the headers in the requested order, with `None` where no header is stored.",
    events_are_streamed_as_they_are_got => "stream_events returns the events of get_events, one by one.",
    concurrent_writers_to_one_trace_lose_nothing => "An acknowledged write is stored, regardless of concurrent writers.",
    concurrent_writers_of_the_same_event_store_it_once => "Writes are idempotent, even when concurrent.",
    concurrent_writers_to_many_traces_lose_nothing => "An acknowledged write is stored, regardless of concurrent writers.",
}

async fn storing_a_trace_again_changes_nothing(store: &Store) -> Outcome {
    let stored = with_events(trace(1), (0..3).map(event));
    for _ in 0..3 {
        store.store_trace(stored.clone()).await?;
    }
    holds(store, stored.clone()).await?;
    finds(store, "any trace", TraceQuery::default(), &[&stored]).await
}

async fn storing_an_event_again_changes_nothing(store: &Store) -> Outcome {
    store.store_trace(trace(1)).await?;
    for _ in 0..3 {
        store.store_event(trace_id(1), event(1)).await?;
    }
    holds(store, with_events(trace(1), [event(1)])).await?;
    same("stats().events", &store.stats().await?.events, &1)
}

async fn another_event_of_the_same_time_and_id_changes_nothing(store: &Store) -> Outcome {
    let (first, second) = (event_of(1, "first"), event_of(1, "second"));
    store.store_trace(with_events(trace(1), [first.clone()])).await?;
    store.store_event(trace_id(1), second.clone()).await?;
    store.store_trace(with_events(trace(1), [second])).await?;
    holds(store, with_events(trace(1), [first])).await?;
    let of_second = TraceQuery { actor_filter: Some("second".into()), ..TraceQuery::default() };
    finds(store, "the refused contents", of_second, &[]).await
}

async fn one_id_at_two_times_is_two_events(store: &Store) -> Outcome {
    let later = event(1);
    let earlier = TraceEvent { timestamp: at(-1), ..later.clone() };
    store.store_trace(with_events(trace(1), [later.clone()])).await?;
    for _ in 0..2 {
        store.store_event(trace_id(1), earlier.clone()).await?;
    }
    holds(store, with_events(trace(1), [earlier, later])).await
}

async fn events_come_in_their_order_whatever_order_they_were_stored_in(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), [event(5), event(2)])).await?;
    for number in [4, 0, 6, 1, 3] {
        store.store_event(trace_id(1), event(number)).await?;
    }
    same("get_events", &store.get_events(trace_id(1)).await?, &(0..7).map(event).collect())?;
    holds(store, with_events(trace(1), (0..7).map(event))).await
}

async fn events_of_one_time_come_by_event_id(store: &Store) -> Outcome {
    let tied: Vec<_> = (0..20).map(|number| TraceEvent { timestamp: at(7), ..event(number) }).collect();
    store.store_trace(with_events(trace(1), tied.clone())).await?;
    let mut expected: Vec<_> = tied.iter().map(|event| event.event_id.0.as_u128()).collect();
    expected.sort_unstable();
    let found: Vec<_> = store.get_events(trace_id(1)).await?.iter().map(|event| event.event_id.0.as_u128()).collect();
    ensure!(found == expected, "expected the events of one time by ascending event id, found another order");
    Ok(())
}

async fn events_without_a_header_are_kept(store: &Store) -> Outcome {
    store.store_event(trace_id(1), event(2)).await?;
    store.store_event(trace_id(1), event(1)).await?;
    same("get_events", &store.get_events(trace_id(1)).await?, &vec![event(1), event(2)])?;
    same("get_trace without a header", &store.get_trace(trace_id(1)).await?, &None)?;
    finds(store, "any trace with a header", TraceQuery::default(), &[]).await?;
    let of_actor = TraceQuery { actor_filter: Some("actor-1".into()), ..TraceQuery::default() };
    finds(store, "a trace of the actor with a header", of_actor, &[]).await?;
    same("stats().traces", &store.stats().await?.traces, &0)
}

async fn a_header_finds_the_events_that_came_before_it(store: &Store) -> Outcome {
    store.store_event(trace_id(1), event(2)).await?;
    store.store_trace(with_events(trace(1), [event(3)])).await?;
    store.store_event(trace_id(1), event(1)).await?;
    let whole = with_events(trace(1), (1..4).map(event));
    holds(store, whole.clone()).await?;
    let of_early = TraceQuery { actor_filter: Some("actor-2".into()), ..TraceQuery::default() };
    finds(store, "the trace by the actor of its early event", of_early, &[&whole]).await
}

async fn two_traces_may_use_the_same_event_id(store: &Store) -> Outcome {
    let (one, other) = (event_of(1, "one"), event_of(1, "other"));
    store.store_trace(with_events(trace(1), [one.clone()])).await?;
    store.store_event(trace_id(2), other.clone()).await?;
    store.store_trace(trace(2)).await?;
    holds(store, with_events(trace(1), [one])).await?;
    holds(store, with_events(trace(2), [other])).await
}

async fn a_write_is_seen_by_the_next_read(store: &Store) -> Outcome {
    let mut stored = trace(1);
    store.store_trace(stored.clone()).await?;
    for number in 0..20 {
        stored.events.push(event(number));
        store.store_event(trace_id(1), event(number)).await?;
        holds(store, stored.clone()).await?;
    }
    Ok(())
}

/// Runs the writers concurrently, each in its own task.
async fn at_once<F>(writers: impl IntoIterator<Item = F>) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let tasks: Vec<_> = writers.into_iter().map(tokio::spawn).collect();
    let outcomes = try_join_all(tasks).await.map_err(Failure::of_task)?;
    outcomes.into_iter().collect()
}

async fn headers_come_without_events_in_the_order_asked_for(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), [event(1)])).await?;
    store.store_trace(trace(2)).await?;
    store.store_event(trace_id(3), event(1)).await?;
    let ids = [2, 4, 1, 3, 2].map(trace_id).to_vec();
    let expected = vec![Some(trace(2)), None, Some(trace(1)), None, Some(trace(2))];
    same("get_headers", &store.get_headers(ids).await?, &expected)?;
    same("get_headers of nothing", &store.get_headers(Vec::new()).await?, &Vec::new())
}

async fn events_are_streamed_as_they_are_got(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), (0..5).rev().map(event))).await?;
    let streamed: Vec<_> = store.stream_events(trace_id(1)).try_collect().await?;
    same("stream_events", &streamed, &(0..5).map(event).collect())?;
    let none: Vec<_> = store.stream_events(trace_id(2)).try_collect().await?;
    same("stream_events of an unknown trace", &none, &Vec::new())
}

async fn concurrent_writers_to_one_trace_lose_nothing(store: &Store) -> Outcome {
    at_once((0..8).map(|writer| {
        let store = store.clone();
        async move {
            store.store_trace(trace(1)).await?;
            for number in (0..25).map(|number| writer * 25 + number) {
                store.store_event(trace_id(1), event(number)).await?;
                let seen = store.get_events(trace_id(1)).await?.contains(&event(number));
                ensure!(seen, "expected writer {writer} to read its event {number}, found it missing");
            }
            Ok(())
        }
    }))
    .await?;
    holds(store, with_events(trace(1), (0..200).map(event))).await
}

async fn concurrent_writers_of_the_same_event_store_it_once(store: &Store) -> Outcome {
    let stored = with_events(trace(1), (0..20).map(event));
    at_once((0..8).map(|writer| {
        let (store, stored) = (store.clone(), stored.clone());
        async move {
            if writer % 2 == 0 {
                store.store_trace(stored).await?;
            } else {
                store.store_events(stored.events.into_iter().map(|event| (trace_id(1), event)).collect()).await?;
            }
            Ok(())
        }
    }))
    .await?;
    holds(store, stored).await?;
    same("stats().events", &store.stats().await?.events, &20)
}

async fn concurrent_writers_to_many_traces_lose_nothing(store: &Store) -> Outcome {
    let stored = |number: u32| -> FlowTrace { with_events(trace(number), (0..5).map(event)) };
    at_once((0..40).map(|number| {
        let store = store.clone();
        async move {
            store.store_trace(stored(number)).await?;
            holds(&store, stored(number)).await
        }
    }))
    .await?;
    let newest_first: Vec<_> = (0..40).rev().map(stored).collect();
    finds(store, "every trace", TraceQuery::default(), &newest_first.iter().collect::<Vec<_>>()).await
}
