use chrono::{DateTime, Utc};

use super::super::case::{cases, ensure};
use super::super::compare::same;
use super::super::{Failure, Outcome, Store};
use super::sample::{at, at_second, event, event_of, finds, holds, store_each, trace, trace_id, with_events};
use reflow_tracing_model::{FlowId, FlowTrace, TraceEvent, TraceQuery};
use reflow_tracing_storage::{Deletion, StorageBackendExt, StorageError};

cases! { "deletion":
    a_deleted_trace_is_gone_from_every_read [Deletion] => "delete_trace deletes a trace with its events and returns `true`.",
    deleting_what_is_not_there_says_so [Deletion] => "delete_trace returns `false` when there was nothing to delete.",
    events_without_a_header_are_deleted_too [Deletion] => "delete_trace deletes the events of a trace whose header is not stored.",
    a_deleted_trace_may_be_stored_again [Deletion] => "Deletion leaves nothing behind: a trace stored later has only its new contents.",
    deletion_leaves_the_other_traces_alone [Deletion] => "delete_trace deletes that trace only.",
    several_traces_are_deleted_at_once [Deletion] => "delete_traces deletes each trace and counts those that existed.",
    an_id_that_is_named_twice_counts_once [Deletion] => "Deletion::Traces may contain duplicate and unknown ids; it counts the traces that existed.",
    what_started_before_a_time_is_deleted [Deletion] => "delete_before deletes the traces that started strictly before the time, with their events, and counts them.",
    more_traces_than_a_page_holds_are_deleted [Deletion] => "delete_before deletes all of them, however many.",
    what_is_dropped_wholesale_started_before_the_time => "drop_oldest_partition touches nothing that started at the time or later, and counts what it drops.",
    any_time_may_bound_a_deletion [Deletion] => "delete_before accepts any time, even one that no trace can have.",
    events_without_a_header_have_not_started [Deletion] => "delete_before deletes traces with a start; traces without a header stay.",
    deletion_amid_reading_disturbs_no_reader [Deletion] => "A read during a deletion finds the trace or what is left of it, and never fails.",
    what_cannot_delete_says_so [no Deletion] => "A backend without deletion refuses it as Unsupported and changes nothing.",
}

async fn a_deleted_trace_is_gone_from_every_read(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), (0..3).map(event))).await?;
    same("delete_trace", &store.delete_trace(trace_id(1)).await?, &true)?;
    same("get_trace", &store.get_trace(trace_id(1)).await?, &None)?;
    same("get_events", &store.get_events(trace_id(1)).await?, &Vec::new())?;
    finds(store, "any trace", TraceQuery::default(), &[]).await?;
    let of_actor = TraceQuery { actor_filter: Some("actor".into()), ..TraceQuery::default() };
    finds(store, "traces of its actors", of_actor, &[]).await?;
    same("flow_versions", &store.flow_versions(FlowId::new("billing")).await?, &Vec::new())?;
    let stats = store.stats().await?;
    same("stats", &(stats.traces, stats.events, stats.oldest, stats.newest), &(0, 0, None, None))
}

async fn deleting_what_is_not_there_says_so(store: &Store) -> Outcome {
    store.store_trace(trace(1)).await?;
    same("delete_trace of an unknown trace", &store.delete_trace(trace_id(2)).await?, &false)?;
    same("delete_trace", &store.delete_trace(trace_id(1)).await?, &true)?;
    same("delete_trace again", &store.delete_trace(trace_id(1)).await?, &false)
}

async fn events_without_a_header_are_deleted_too(store: &Store) -> Outcome {
    store.store_event(trace_id(1), event(1)).await?;
    same("delete_trace", &store.delete_trace(trace_id(1)).await?, &true)?;
    same("get_events", &store.get_events(trace_id(1)).await?, &Vec::new())?;
    store.store_trace(trace(1)).await?;
    holds(store, trace(1)).await
}

async fn a_deleted_trace_may_be_stored_again(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), [event_of(1, "old"), event(2)])).await?;
    store.delete_trace(trace_id(1)).await?;
    let again = with_events(trace(1), [event_of(1, "new")]);
    store.store_trace(again.clone()).await?;
    holds(store, again).await
}

async fn deletion_leaves_the_other_traces_alone(store: &Store) -> Outcome {
    let other = with_events(trace(2), [event(1), event(2)]);
    store_each(store, &[with_events(trace(1), [event(1), event(2)]), other.clone()]).await?;
    store.store_event(trace_id(3), event(1)).await?;
    store.delete_trace(trace_id(1)).await?;
    holds(store, other.clone()).await?;
    same("get_events without a header", &store.get_events(trace_id(3)).await?, &vec![event(1)])?;
    finds(store, "every trace", TraceQuery::default(), &[&other]).await
}

async fn several_traces_are_deleted_at_once(store: &Store) -> Outcome {
    store.store_traces((0..250).map(|number| with_events(trace(number), [event(number)])).collect()).await?;
    store.store_event(trace_id(250), event(1)).await?;
    let ids = (0..240).chain([250, 251, 1]).map(trace_id).collect();
    same("delete_traces", &store.delete_traces(ids).await?, &241)?;
    same("count_traces", &store.count_traces(TraceQuery::default()).await?, &10)?;
    same("get_events", &store.get_events(trace_id(250)).await?, &Vec::new())?;
    holds(store, with_events(trace(245), [event(245)])).await?;
    same("delete_traces of none", &store.delete_traces(Vec::new()).await?, &0)
}

async fn an_id_that_is_named_twice_counts_once(store: &Store) -> Outcome {
    store_each(store, &[with_events(trace(1), [event(1)]), trace(2)]).await?;
    store.store_event(trace_id(3), event(1)).await?;
    let ids = [1, 3, 4, 1, 3, 4].map(trace_id).to_vec();
    same("delete", &store.delete(Deletion::Traces(ids.clone())).await?, &2)?;
    same("delete again", &store.delete(Deletion::Traces(ids)).await?, &0)?;
    same("get_events", &store.get_events(trace_id(3)).await?, &Vec::new())?;
    finds(store, "every trace", TraceQuery::default(), &[&trace(2)]).await
}

async fn what_started_before_a_time_is_deleted(store: &Store) -> Outcome {
    let started = |nanos: u32| FlowTrace { start_time: at(nanos.into()), ..with_events(trace(nanos), [event(nanos)]) };
    store_each(store, &[started(1), started(2), started(3), started(4)]).await?;
    same("delete_before", &store.delete_before(at(3)).await?, &2)?;
    finds(store, "every trace", TraceQuery::default(), &[&started(4), &started(3)]).await?;
    same("get_events", &store.get_events(trace_id(1)).await?, &Vec::new())?;
    same("delete_before again", &store.delete_before(at(3)).await?, &0)?;
    holds(store, started(3)).await
}

async fn more_traces_than_a_page_holds_are_deleted(store: &Store) -> Outcome {
    let old = (0..250).map(|number| FlowTrace { start_time: at(0), ..trace(number) });
    let new = (250..400).map(|number| FlowTrace { start_time: at(1), ..trace(number) });
    store.store_traces(old.chain(new).collect()).await?;
    same("delete_before", &store.delete_before(at(1)).await?, &250)?;
    same("count_traces", &store.count_traces(TraceQuery::default()).await?, &150)
}

async fn what_is_dropped_wholesale_started_before_the_time(store: &Store) -> Outcome {
    const DAY: i64 = 86_400;
    let started = |day: u32| {
        let start_time = at_second(i64::from(day) * DAY);
        FlowTrace { start_time, ..with_events(trace(day), [TraceEvent { timestamp: start_time, ..event(day) }]) }
    };
    store.store_traces((0..60).map(started).collect()).await?;
    let mut dropped = 0;
    while let Some(traces @ 1..) = store.drop_oldest_partition(at_second(40 * DAY)).await? {
        dropped += traces;
        same("count_traces", &store.count_traces(TraceQuery::default()).await?, &(60 - dropped))?;
    }
    ensure!(dropped <= 40, "expected at most the 40 traces of before, found {dropped} dropped");
    for day in [40, 41, 59] {
        holds(store, started(day)).await?;
    }
    Ok(())
}

async fn any_time_may_bound_a_deletion(store: &Store) -> Outcome {
    let earliest = FlowTrace { start_time: DateTime::from_timestamp_nanos(i64::MIN), ..trace(1) };
    store_each(store, &[earliest, trace(2)]).await?;
    same("delete_before the first time", &store.delete_before(DateTime::<Utc>::MIN_UTC).await?, &0)?;
    same("delete_before the last time", &store.delete_before(DateTime::<Utc>::MAX_UTC).await?, &2)
}

async fn events_without_a_header_have_not_started(store: &Store) -> Outcome {
    store.store_event(trace_id(1), event(1)).await?;
    same("delete_before", &store.delete_before(DateTime::<Utc>::MAX_UTC).await?, &0)?;
    store.store_trace(with_events(trace(2), [event(2)])).await?;
    let started_before = Deletion::StartedBefore(DateTime::<Utc>::MAX_UTC);
    same("delete beside a trace that has", &store.delete(started_before).await?, &1)?;
    same("get_events", &store.get_events(trace_id(1)).await?, &vec![event(1)])
}

async fn deletion_amid_reading_disturbs_no_reader(store: &Store) -> Outcome {
    const DELETED: u32 = 30;
    let stored = |number| with_events(trace(number), (0..20).map(event));
    let kept = stored(DELETED);
    store.store_traces((0..=DELETED).map(stored).collect()).await?;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let traces = store.query_traces(TraceQuery::default()).await?;
                    for found in &traces {
                        let whole = (0..=DELETED).map(stored).find(|stored| stored.trace_id == found.trace_id);
                        let whole = whole.ok_or_else(|| Failure::new(format!("no such trace: {found:?}")))?;
                        let header = |trace: &FlowTrace| FlowTrace { events: Vec::new(), ..trace.clone() };
                        same("the header of a trace read amid deletion", &header(found), &header(&whole))?;
                        let stray = found.events.iter().find(|event| !whole.events.contains(event));
                        ensure!(stray.is_none(), "expected events that were stored, found {stray:?}");
                    }
                    let last = store.get_trace(trace_id(0)).await?;
                    store.get_events(trace_id(1)).await?;
                    if last.is_none() && traces.len() == 1 {
                        return Ok::<_, Failure>(traces);
                    }
                    // Lets the tasks of a store run that never waits.
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for number in 0..DELETED {
        same("delete_trace", &store.delete_trace(trace_id(number.into())).await?, &true)?;
    }
    for reader in readers {
        same("what is left", &reader.await.map_err(Failure::of_task)??, &vec![kept.clone()])?;
    }
    Ok(())
}

async fn what_cannot_delete_says_so(store: &Store) -> Outcome {
    store.store_trace(trace(1)).await?;
    let answers = [
        ("delete_trace", store.delete_trace(trace_id(1)).await.map(drop)),
        ("delete_traces", store.delete_traces(vec![trace_id(1)]).await.map(drop)),
        ("delete_before", store.delete_before(DateTime::<Utc>::MAX_UTC).await.map(drop)),
    ];
    for (call, answer) in answers {
        let refused = matches!(answer, Err(StorageError::Unsupported(_)));
        ensure!(refused, "{call}: expected Unsupported, found {answer:?}");
    }
    holds(store, trace(1)).await
}
