use super::super::case::cases;
use super::super::compare::same;
use super::super::{Outcome, Store};
use super::sample::{event, event_of, finds, holds, trace, trace_id, with_events, with_tags};
use reflow_tracing_model::{ExecutionStatus, FlowTrace, TraceQuery};

cases! { "batches":
    a_batch_of_traces_is_stored => "store_traces stores each as store_trace does.",
    a_batch_of_events_may_belong_to_several_traces => "store_events stores each as store_event does, also before a header.",
    an_event_twice_in_a_batch_is_stored_once => "Of two events with one id the first stays, also within a batch.",
    many_events_often_in_a_batch_are_stored_once => "Of events with one id the first stays, however many there are in a batch.",
    an_event_in_two_batches_is_stored_once => "Of two events with one id the first stays, also across batches.",
    a_trace_twice_in_a_batch_is_one_trace => "A later header replaces the earlier one, also within a batch; their events unite.",
    an_empty_batch_changes_nothing => "A batch may be empty.",
    a_batch_of_5000_events_is_stored => "A batch may be large.",
    a_batch_of_1000_traces_is_stored => "A batch may be large.",
}

async fn a_batch_of_traces_is_stored(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..10).map(|number| with_events(trace(number), (0..number).map(event))).collect();
    store.store_traces(traces.clone()).await?;
    for trace in &traces {
        holds(store, trace.clone()).await?;
    }
    finds(store, "every trace", TraceQuery::default(), &traces.iter().rev().collect::<Vec<_>>()).await
}

async fn a_batch_of_events_may_belong_to_several_traces(store: &Store) -> Outcome {
    store.store_trace(trace(1)).await?;
    store.store_trace(trace(2)).await?;
    let batch = [(1, 3), (2, 1), (3, 2), (1, 1), (2, 2), (3, 1)];
    store.store_events(batch.map(|(of, number)| (trace_id(of), event(number))).into()).await?;
    holds(store, with_events(trace(1), [event(1), event(3)])).await?;
    holds(store, with_events(trace(2), [event(1), event(2)])).await?;
    same("get_trace without a header", &store.get_trace(trace_id(3)).await?, &None)?;
    same("get_events without a header", &store.get_events(trace_id(3)).await?, &vec![event(1), event(2)])
}

async fn an_event_twice_in_a_batch_is_stored_once(store: &Store) -> Outcome {
    let (first, second) = (event_of(1, "first"), event_of(1, "second"));
    let batch = [first.clone(), event(2), second.clone(), first.clone()];
    store.store_trace(trace(1)).await?;
    store.store_events(batch.clone().map(|event| (trace_id(1), event)).into()).await?;
    holds(store, with_events(trace(1), [first.clone(), event(2)])).await?;
    store.store_trace(with_events(trace(2), batch)).await?;
    holds(store, with_events(trace(2), [first, event(2)])).await
}

async fn many_events_often_in_a_batch_are_stored_once(store: &Store) -> Outcome {
    let all_of = |actor| (1..=40).rev().map(move |number| event_of(number, actor));
    store.store_trace(with_events(trace(1), all_of("first").chain(all_of("second")).chain(all_of("third")))).await?;
    holds(store, with_events(trace(1), all_of("first").rev())).await
}

async fn an_event_in_two_batches_is_stored_once(store: &Store) -> Outcome {
    let addressed = |events: [_; 3]| events.map(|event| (trace_id(1), event)).into();
    store.store_trace(trace(1)).await?;
    store.store_events(addressed([event(1), event_of(2, "first"), event(3)])).await?;
    store.store_events(addressed([event_of(2, "second"), event(3), event(4)])).await?;
    holds(store, with_events(trace(1), [event(1), event_of(2, "first"), event(3), event(4)])).await
}

async fn a_trace_twice_in_a_batch_is_one_trace(store: &Store) -> Outcome {
    let tagged = |tags| with_tags(trace(1), tags);
    let running = with_events(tagged(&[("env", "prod"), ("old", "")]), [event(1), event_of(2, "first")]);
    let ended = FlowTrace {
        status: ExecutionStatus::Completed,
        ..with_events(tagged(&[("env", "prod"), ("new", "")]), [event_of(2, "second"), event(3)])
    };
    store.store_traces(vec![running, trace(2), ended.clone()]).await?;
    let united = with_events(ended, [event(1), event_of(2, "first"), event(3)]);
    holds(store, united.clone()).await?;
    finds(store, "every trace", TraceQuery::default(), &[&trace(2), &united]).await?;
    let of_tag = |name: &str| TraceQuery { tags: [(name.into(), String::new())].into(), ..TraceQuery::default() };
    finds(store, "traces with the tag of the later header", of_tag("new"), &[&united]).await?;
    finds(store, "traces with the tag of the earlier header", of_tag("old"), &[]).await
}

async fn an_empty_batch_changes_nothing(store: &Store) -> Outcome {
    store.store_traces(Vec::new()).await?;
    store.store_events(Vec::new()).await?;
    finds(store, "any trace", TraceQuery::default(), &[]).await
}

async fn a_batch_of_5000_events_is_stored(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..50).map(trace).collect();
    store.store_traces(traces.clone()).await?;
    let batch = (0..5_000).map(|number| (trace_id((number % 50).into()), event(number))).collect();
    store.store_events(batch).await?;
    for (of, trace) in (0..).zip(traces) {
        holds(store, with_events(trace, (0..100).map(|number| event(number * 50 + of)))).await?;
    }
    same("stats().events", &store.stats().await?.events, &5_000)
}

async fn a_batch_of_1000_traces_is_stored(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..1_000).map(|number| with_events(trace(number), [event(number)])).collect();
    store.store_traces(traces.clone()).await?;
    let all = TraceQuery { limit: Some(TraceQuery::MAX_LIMIT), ..TraceQuery::default() };
    finds(store, "every trace", all, &traces.iter().rev().collect::<Vec<_>>()).await
}
