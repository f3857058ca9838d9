use super::super::case::cases;
use super::super::compare::same;
use super::super::{Outcome, Store};
use super::sample::{at, finds, store_each, trace, trace_id};
use reflow_tracing_model::{FlowId, FlowTrace, SortOrder, TraceQuery};

cases! { "order":
    the_newest_trace_comes_first => "Traces are ordered by descending start_time unless the query says otherwise.",
    the_oldest_trace_comes_first_if_asked => "`OldestFirst` orders by ascending start_time.",
    traces_of_one_start_come_by_trace_id => "Traces that started at the same time are ordered by ascending trace id in either order.",
    a_limit_bounds_the_answer => "The result has at most `limit` traces, the first in order; 0 means none.",
    without_a_limit_an_answer_holds_100_traces => "The default limit is 100.",
    an_offset_leaves_out_the_first => "`offset` skips that many traces, with or without a limit.",
    an_offset_past_the_end_finds_nothing => "`offset` may be past the end, however far.",
}

async fn the_newest_trace_comes_first(store: &Store) -> Outcome {
    store_each(store, &[trace(2), trace(4), trace(1), trace(3)]).await?;
    let newest_first = [&trace(4), &trace(3), &trace(2), &trace(1)];
    finds(store, "every trace", TraceQuery::default(), &newest_first).await
}

async fn the_oldest_trace_comes_first_if_asked(store: &Store) -> Outcome {
    store_each(store, &[trace(2), trace(4), trace(1), trace(3)]).await?;
    let oldest = TraceQuery { order: SortOrder::OldestFirst, ..TraceQuery::default() };
    finds(store, "every trace, the oldest first", oldest.clone(), &[&trace(1), &trace(2), &trace(3), &trace(4)])
        .await?;
    finds(store, "the oldest trace", TraceQuery { limit: Some(1), ..oldest }, &[&trace(1)]).await
}

async fn traces_of_one_start_come_by_trace_id(store: &Store) -> Outcome {
    let mut tied: Vec<_> = (1..=9).map(|number| FlowTrace { start_time: at(0), ..trace(number) }).collect();
    let newer = FlowTrace { start_time: at(1), ..trace(10) };
    store.store_traces(tied.clone()).await?;
    store.store_trace(newer.clone()).await?;
    tied.sort_by_key(|trace| trace.trace_id.0.as_u128());
    let mut newest_first = vec![&newer];
    newest_first.extend(&tied);
    finds(store, "tied traces, the newest first", TraceQuery::default(), &newest_first).await?;
    let mut oldest_first: Vec<_> = tied.iter().collect();
    oldest_first.push(&newer);
    let oldest = TraceQuery { order: SortOrder::OldestFirst, ..TraceQuery::default() };
    finds(store, "tied traces, the oldest first", oldest, &oldest_first).await
}

async fn a_limit_bounds_the_answer(store: &Store) -> Outcome {
    store_each(store, &[trace(1), trace(2), trace(3)]).await?;
    let limited = |limit| TraceQuery { limit: Some(limit), ..TraceQuery::default() };
    finds(store, "no trace", limited(0), &[]).await?;
    finds(store, "two traces", limited(2), &[&trace(3), &trace(2)]).await?;
    finds(store, "as many as there are", limited(3), &[&trace(3), &trace(2), &trace(1)]).await?;
    finds(store, "as many as may be", limited(TraceQuery::MAX_LIMIT), &[&trace(3), &trace(2), &trace(1)]).await?;
    let other = FlowTrace { flow_id: FlowId::new("other"), ..trace(9) };
    store.store_trace(other).await?;
    let of_flow = TraceQuery { flow_id: Some(trace(1).flow_id), ..limited(2) };
    finds(store, "two of a flow", of_flow, &[&trace(3), &trace(2)]).await
}

async fn without_a_limit_an_answer_holds_100_traces(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..120).map(trace).collect();
    store.store_traces(traces.clone()).await?;
    let newest: Vec<_> = traces.iter().rev().take(100).collect();
    let found = store.query_traces(TraceQuery::default()).await?;
    same("the number of traces in an answer", &found.len(), &100)?;
    let at_once = TraceQuery { limit: Some(100), ..TraceQuery::default() };
    finds(store, "the newest 100 traces", at_once, &newest).await
}

async fn an_offset_leaves_out_the_first(store: &Store) -> Outcome {
    store_each(store, &[trace(1), trace(2), trace(3), trace(4)]).await?;
    let from = |offset, limit| TraceQuery { offset: Some(offset), limit, ..TraceQuery::default() };
    finds(store, "the second trace on", from(1, None), &[&trace(3), &trace(2), &trace(1)]).await?;
    finds(store, "the second and third trace", from(1, Some(2)), &[&trace(3), &trace(2)]).await?;
    finds(store, "every trace", from(0, Some(9)), &[&trace(4), &trace(3), &trace(2), &trace(1)]).await?;
    let oldest = TraceQuery { order: SortOrder::OldestFirst, ..from(3, None) };
    finds(store, "the last of the oldest first", oldest, &[&trace(4)]).await?;
    let one = TraceQuery { execution_id: Some(trace(2).execution_id), ..from(1, None) };
    finds(store, "past the one that matches", one, &[]).await?;
    same("the trace", &store.get_trace(trace_id(2)).await?.is_some(), &true)
}

async fn an_offset_past_the_end_finds_nothing(store: &Store) -> Outcome {
    store_each(store, &[trace(1), trace(2)]).await?;
    for offset in [2, 3, 1 << 32, usize::MAX] {
        for limit in [None, Some(1), Some(TraceQuery::MAX_LIMIT)] {
            let past = TraceQuery { offset: Some(offset), limit, ..TraceQuery::default() };
            finds(store, &format!("from offset {offset}, limit {limit:?}"), past, &[]).await?;
        }
    }
    Ok(())
}
