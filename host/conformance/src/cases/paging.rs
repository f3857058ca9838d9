use super::super::case::{cases, ensure};
use super::super::compare::{same, same_traces};
use super::super::history::{all_headers, all_pages};
use super::super::{Failure, Outcome, Store};
use super::sample::{ORDERS, at, event_of, store_each, trace, with_events};
use reflow_tracing_model::{FlowId, FlowTrace, SortOrder, TraceQuery};
use reflow_tracing_storage::{Detail, PageRequest, StorageBackendExt, StorageError};

cases! { "paging":
    pages_give_every_trace_once => "Following the tokens returns every trace once, in order, with all its events.",
    pages_of_headers_are_pages_without_events => "query_headers returns what query_page returns, without the events.",
    pages_of_tied_traces_give_every_trace_once => "Traces with the same start_time are neither lost nor repeated.",
    headers_carry_no_events_and_traces_carry_all => "A page has as much of each trace as its Detail says, and a total if requested.",
    the_last_page_has_no_token => "A page says whether more traces follow.",
    pages_hold_what_matches_only => "A token continues with the predicates of its query.",
    an_offset_counts_from_the_start_of_the_first_page => "`offset` skips traces once, before the first page, and not on each page.",
    traces_stored_between_pages_repeat_and_hide_nothing => "A trace that matches throughout is returned once, whatever is stored meanwhile.",
    traces_stored_between_pages_repeat_and_hide_nothing_among_ties => "The same when new traces have the start_time of traces that were already read.",
    traces_deleted_between_pages_hide_no_others [Deletion] => "A trace that matches throughout is returned once, whatever is deleted meanwhile.",
    a_page_after_everything_was_deleted_is_empty [Deletion] => "A token stays valid when its trace is deleted.",
    a_token_that_the_store_did_not_give_is_refused => "A malformed page_token is an invalid argument.",
}

fn pages_of(limit: usize, order: SortOrder) -> TraceQuery {
    TraceQuery { limit: Some(limit), order, ..TraceQuery::default() }
}

/// Sorts the traces by `order`.
fn in_order(mut traces: Vec<FlowTrace>, order: SortOrder) -> Vec<FlowTrace> {
    traces.sort_by_key(|trace| trace.trace_id.0.as_u128());
    match order {
        SortOrder::NewestFirst => traces.sort_by_key(|trace| std::cmp::Reverse(trace.start_time)),
        SortOrder::OldestFirst => traces.sort_by_key(|trace| trace.start_time),
    }
    traces
}

fn tied(number: u32, nanos: i64) -> FlowTrace {
    FlowTrace { start_time: at(nanos), ..trace(number) }
}

async fn pages_give_every_trace_once(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..23).map(|number| with_events(trace(number), [event_of(number, "parser")])).collect();
    store.store_traces(traces.clone()).await?;
    for order in ORDERS {
        for limit in [1, 5, 23, 24, 10_000] {
            let paged = all_pages(&**store, pages_of(limit, order)).await?;
            same_traces(format!("pages of {limit}, {order:?}"), &paged, &in_order(traces.clone(), order))?;
        }
    }
    Ok(())
}

async fn pages_of_headers_are_pages_without_events(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..23).map(|number| with_events(trace(number), [event_of(number, "parser")])).collect();
    store.store_traces(traces).await?;
    for order in ORDERS {
        let of_actor = TraceQuery { actor_filter: Some("parser".into()), ..pages_of(5, order) };
        let headers = all_headers(&**store, of_actor.clone()).await?;
        let traces = all_pages(&**store, of_actor).await?;
        let expected: Vec<_> = traces.into_iter().map(|trace| FlowTrace { events: Vec::new(), ..trace }).collect();
        same_traces(format!("the headers, {order:?}"), &headers, &expected)?;
    }
    let wrong = TraceQuery { page_token: Some("no token".into()), ..TraceQuery::default() };
    let answer = store.query_headers(wrong).await;
    ensure!(matches!(answer, Err(StorageError::InvalidArgument(_))), "expected InvalidArgument, found {answer:?}");
    Ok(())
}

async fn headers_carry_no_events_and_traces_carry_all(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..7).map(|number| with_events(trace(number), [event_of(number, "parser")])).collect();
    store.store_traces(traces.clone()).await?;
    let query = TraceQuery { actor_filter: Some("parser".into()), ..pages_of(3, SortOrder::OldestFirst) };
    for (detail, total) in
        [(Detail::Headers, false), (Detail::Headers, true), (Detail::Traces, false), (Detail::Traces, true)]
    {
        let what = format!("a page of {detail:?}, total {total}");
        let page = store.query_page(PageRequest { query: query.clone(), detail, total }).await?;
        let expected = traces[..3].iter().cloned().map(|trace| match detail {
            Detail::Headers => with_events(trace, []),
            Detail::Traces => trace,
        });
        same_traces(&what, &page.traces, &expected.collect::<Vec<_>>())?;
        same(format!("the total of {what}"), &page.total, &total.then_some(7))?;
        let rest = TraceQuery { page_token: page.next_page_token, limit: Some(10), ..query.clone() };
        let rest = store.query_page(PageRequest { query: rest, detail, total }).await?;
        same(format!("the traces after {what}"), &rest.traces.len(), &4)?;
        same(
            format!("the events after {what}"),
            &rest.traces.iter().map(|trace| trace.events.len()).sum(),
            &match detail {
                Detail::Headers => 0,
                Detail::Traces => 4,
            },
        )?;
        same(format!("the total after {what}"), &rest.total, &total.then_some(7))?;
    }
    Ok(())
}

async fn pages_of_tied_traces_give_every_trace_once(store: &Store) -> Outcome {
    // Ties begin, end and span pages.
    let traces: Vec<_> = (0..24).map(|number| tied(number, [7, 7, 8, 7, 9, 8][number as usize % 6])).collect();
    store.store_traces(traces.clone()).await?;
    for order in ORDERS {
        for limit in [1, 2, 3, 7] {
            let paged = all_pages(&**store, pages_of(limit, order)).await?;
            same_traces(format!("pages of {limit}, {order:?}"), &paged, &in_order(traces.clone(), order))?;
        }
    }
    Ok(())
}

async fn the_last_page_has_no_token(store: &Store) -> Outcome {
    store_each(store, &[trace(1), trace(2), trace(3)]).await?;
    let whole = store.query_page(pages_of(4, SortOrder::NewestFirst).into()).await?;
    same("the token after all traces", &whole.next_page_token, &None)?;
    let first = store.query_page(pages_of(2, SortOrder::NewestFirst).into()).await?;
    same("the traces of the first page", &first.traces.len(), &2)?;
    ensure!(first.next_page_token.is_some(), "expected a token after 2 of 3 traces, found none");
    let second = store
        .query_page(TraceQuery { page_token: first.next_page_token, ..pages_of(2, SortOrder::NewestFirst) }.into())
        .await?;
    same_traces("the second page", &second.traces, &[trace(1)])?;
    same("the token after the last trace", &second.next_page_token, &None)
}

async fn pages_hold_what_matches_only(store: &Store) -> Outcome {
    let of = |number: u32| {
        let flow = if number.is_multiple_of(3) { "invoices" } else { "billing" };
        let actor = if number.is_multiple_of(2) { "parser" } else { "mailer" };
        FlowTrace { flow_id: FlowId::new(flow), ..with_events(trace(number), [event_of(number, actor)]) }
    };
    store.store_traces((0..60).map(of).collect()).await?;
    let expected: Vec<_> =
        (0..60).rev().filter(|number| number % 6 == 0 && (6..=42).contains(number)).map(of).collect();
    let query = TraceQuery {
        flow_id: Some(FlowId::new("invoices")),
        actor_filter: Some("parse".into()),
        time_range: Some((trace(6).start_time, trace(42).start_time)),
        ..pages_of(2, SortOrder::NewestFirst)
    };
    same_traces("pages of 2", &all_pages(&**store, query).await?, &expected)
}

async fn an_offset_counts_from_the_start_of_the_first_page(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..10).map(trace).collect();
    store.store_traces(traces.clone()).await?;
    for order in ORDERS {
        let query = TraceQuery { offset: Some(3), ..pages_of(2, order) };
        let expected = in_order(traces.clone(), order).split_off(3);
        same_traces(format!("pages from offset 3, {order:?}"), &all_pages(&**store, query).await?, &expected)?;
    }
    Ok(())
}

/// Follows the tokens and runs `meanwhile(page)` after each page. Expects each trace of `stayed` once and in order; the pages
/// may have other traces too.
async fn pages_while<F>(
    store: &Store,
    mut query: TraceQuery,
    stayed: &[FlowTrace],
    meanwhile: impl Fn(u32) -> F,
) -> Outcome
where
    F: Future<Output = Outcome>,
{
    let mut seen: Vec<FlowTrace> = Vec::new();
    for page_number in 0..100 {
        let page = store.query_page(query.clone().into()).await?;
        for trace in page.traces {
            let twice = seen.iter().any(|earlier| earlier.trace_id == trace.trace_id);
            ensure!(!twice, "expected each trace once, found {} again on page {page_number}", trace.trace_id);
            seen.push(trace);
        }
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => {
                seen.retain(|trace| stayed.iter().any(|stayed| stayed.trace_id == trace.trace_id));
                return same_traces(
                    format!("pages, {:?}", query.order),
                    &seen,
                    &in_order(stayed.to_vec(), query.order),
                );
            }
        }
        meanwhile(page_number).await?;
    }
    Err(Failure::new("still no last page after 100"))
}

async fn traces_stored_between_pages_repeat_and_hide_nothing(store: &Store) -> Outcome {
    let traces: Vec<_> = (100..120).map(trace).collect();
    store.store_traces(traces.clone()).await?;
    for (round, order) in (0..).zip(ORDERS) {
        pages_while(store, pages_of(3, order), &traces, |page| async move {
            // Newer and older than all others, and in between.
            let (first, extra) = (1_000 * (round + 1) + page * 3, 500_000_000);
            store.store_trace(trace(first)).await?;
            store.store_trace(FlowTrace { start_time: at(i64::from(page)), ..trace(first + 1) }).await?;
            let between = trace(100 + page).start_time + chrono::TimeDelta::nanoseconds(extra);
            store.store_trace(FlowTrace { start_time: between, ..trace(first + 2) }).await?;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn traces_stored_between_pages_repeat_and_hide_nothing_among_ties(store: &Store) -> Outcome {
    let mut traces: Vec<_> = (0..20).map(|number| tied(number, 7)).collect();
    traces.push(tied(20, 6));
    traces.push(tied(21, 8));
    store.store_traces(traces.clone()).await?;
    for (round, order) in (0..).zip(ORDERS) {
        pages_while(store, pages_of(3, order), &traces, |page| async move {
            let first = 1_000 * (round + 1) + page * 4;
            store.store_traces((first..first + 4).map(|number| tied(number, 7)).collect()).await?;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn traces_deleted_between_pages_hide_no_others(store: &Store) -> Outcome {
    for (round, order) in (0..).zip(ORDERS) {
        let traces: Vec<_> = (0..20).map(|number| tied(100 * (round + 1) + number, i64::from(number / 3))).collect();
        store.store_traces(traces.clone()).await?;
        let stays = |index: usize| !index.is_multiple_of(4);
        let sorted = in_order(traces, order);
        let stayed: Vec<_> =
            (0..).zip(sorted.clone()).filter(|(index, _)| stays(*index)).map(|(_, trace)| trace).collect();
        let sorted = &sorted;
        pages_while(store, pages_of(3, order), &stayed, |page| async move {
            // Delete from the front, whether the trace was read or not.
            if let Some(gone) = sorted.get(page as usize * 4) {
                store.delete_trace(gone.trace_id).await?;
            }
            Ok(())
        })
        .await?;
        for trace in sorted {
            store.delete_trace(trace.trace_id).await?;
        }
    }
    Ok(())
}

async fn a_page_after_everything_was_deleted_is_empty(store: &Store) -> Outcome {
    store_each(store, &[trace(1), trace(2), trace(3)]).await?;
    let query = pages_of(1, SortOrder::NewestFirst);
    let first = store.query_page(query.clone().into()).await?;
    ensure!(first.next_page_token.is_some(), "expected a token after 1 of 3 traces, found none");
    for number in 1..=3 {
        store.delete_trace(trace(number).trace_id).await?;
    }
    let second = store.query_page(TraceQuery { page_token: first.next_page_token, ..query }.into()).await?;
    same_traces("the page after everything was deleted", &second.traces, &[])?;
    same("its token", &second.next_page_token, &None)
}

async fn a_token_that_the_store_did_not_give_is_refused(store: &Store) -> Outcome {
    store_each(store, &[trace(1), trace(2)]).await?;
    for token in ["", "no such token", "\0", "%", "..", "1.", ".1", "'; --", "💥"] {
        let query = TraceQuery { page_token: Some(token.into()), ..TraceQuery::default() };
        match store.query_page(query.into()).await {
            Err(StorageError::InvalidArgument(_)) => {}
            Err(other) => ensure!(false, "page_token {token:?}: expected InvalidArgument, found {other:?}"),
            Ok(page) => {
                ensure!(false, "page_token {token:?}: expected InvalidArgument, found {} traces", page.traces.len())
            }
        }
    }
    Ok(())
}
