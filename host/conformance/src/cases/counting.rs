use chrono::DateTime;

use super::super::case::{cases, ensure};
use super::super::compare::same;
use super::super::{Outcome, Store};
use super::sample::{at, at_second, event, event_of, store_each, trace, trace_id, with_events};
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, SortOrder, TraceQuery};
use reflow_tracing_storage::{Detail, PageRequest, StorageBackendExt};

cases! { "counting":
    a_count_ignores_the_window => "count_traces counts all matches, regardless of the query's limit, offset and order.",
    a_total_ignores_the_window => "The total of a page counts all matches, regardless of the window; requesting it does not change the page.",
    a_limit_of_0_leaves_the_count => "A page with limit 0 has no traces and no token; it has the total if requested.",
    a_count_obeys_the_predicates => "count_traces counts what query_traces finds.",
    more_traces_than_a_page_holds_are_counted => "A count is exact, however many match.",
    versions_are_distinct_and_ascending => "flow_versions returns each version of the flow once, ascending.",
    the_size_is_told_where_stats_tell_it => "get_metrics has a size if stats has one.",
    stats_tell_what_is_stored => "stats counts traces and events, and has the earliest and the latest start.",
}

async fn a_count_ignores_the_window(store: &Store) -> Outcome {
    store_each(store, &[trace(1), trace(2), trace(3)]).await?;
    for (limit, offset) in [(None, None), (Some(0), None), (Some(1), None), (None, Some(2)), (Some(2), Some(9))] {
        let query = TraceQuery { limit, offset, ..TraceQuery::default() };
        let what = format!("count_traces with limit {limit:?} and offset {offset:?}");
        same(what, &store.count_traces(query).await?, &3)?;
    }
    Ok(())
}

async fn a_total_ignores_the_window(store: &Store) -> Outcome {
    let traces: Vec<_> = (0..5).map(|number| with_events(trace(number), [event(number)])).collect();
    store.store_traces(traces.clone()).await?;
    store.store_trace(FlowTrace { flow_id: FlowId::new("other"), ..trace(9) }).await?;
    for detail in [Detail::Headers, Detail::Traces] {
        for (limit, offset) in [(None, None), (Some(2), None), (Some(2), Some(3)), (None, Some(9)), (Some(5), None)] {
            let query = TraceQuery {
                flow_id: Some(FlowId::new("billing")),
                order: SortOrder::OldestFirst,
                limit,
                offset,
                ..TraceQuery::default()
            };
            let what = format!("{detail:?} with limit {limit:?} and offset {offset:?}");
            let counted = store.query_page(PageRequest { query: query.clone(), detail, total: true }).await?;
            same(format!("the total of {what}"), &counted.total, &Some(5))?;
            let plain = store.query_page(PageRequest { query, detail, total: false }).await?;
            same(format!("the total that was not asked for, of {what}"), &plain.total, &None)?;
            same(format!("the traces of {what}"), &counted.traces, &plain.traces)?;
            same(format!("the token of {what}"), &counted.next_page_token.is_some(), &plain.next_page_token.is_some())?;
        }
    }
    Ok(())
}

async fn a_limit_of_0_leaves_the_count(store: &Store) -> Outcome {
    store_each(store, &[with_events(trace(1), [event(1)]), trace(2), trace(3)]).await?;
    for detail in [Detail::Headers, Detail::Traces] {
        for total in [false, true] {
            let query = TraceQuery { limit: Some(0), ..TraceQuery::default() };
            let page = store.query_page(PageRequest { query, detail, total }).await?;
            let found = (page.traces.len(), page.next_page_token, page.total);
            same(format!("a page of 0 {detail:?}, total {total}"), &found, &(0, None, total.then_some(3)))?;
        }
    }
    Ok(())
}

async fn a_count_obeys_the_predicates(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), (0..10).map(|number| event_of(number, "parser")))).await?;
    store.store_trace(with_events(trace(2), [event_of(1, "mailer")])).await?;
    store.store_event(trace_id(3), event_of(1, "parser")).await?;
    let count = |query: TraceQuery| store.count_traces(query);
    let of_actor = |part: &str| TraceQuery { actor_filter: Some(part.into()), ..TraceQuery::default() };
    same("traces of an actor", &count(of_actor("parser")).await?, &1)?;
    same("traces of two actors", &count(of_actor("er")).await?, &2)?;
    same("traces of no actor", &count(of_actor("Parser")).await?, &0)?;
    let started = TraceQuery { time_range: Some((at_second(2), at_second(9))), ..TraceQuery::default() };
    same("traces of a time", &count(started).await?, &1)
}

async fn more_traces_than_a_page_holds_are_counted(store: &Store) -> Outcome {
    store.store_traces((0..250).map(|number| FlowTrace { start_time: at(0), ..trace(number) }).collect()).await?;
    same("count_traces", &store.count_traces(TraceQuery::default()).await?, &250)?;
    same("stats().traces", &store.stats().await?.traces, &250)
}

async fn versions_are_distinct_and_ascending(store: &Store) -> Outcome {
    let version = |major, minor, git_hash: Option<&str>| FlowVersion {
        major,
        minor,
        patch: 0,
        git_hash: git_hash.map(str::to_owned),
        timestamp: at(0),
        ..FlowVersion::default()
    };
    let ascending = [
        version(1, 2, None),
        version(1, 10, None),
        version(2, 0, None),
        version(2, 0, Some("a")),
        version(10, 0, None),
    ];
    for (number, index) in (0..).zip([3, 1, 4, 1, 0, 2, 3, 0]) {
        store.store_trace(FlowTrace { version: ascending[index].clone(), ..trace(number) }).await?;
    }
    let other = FlowTrace { flow_id: FlowId::new("Billing"), version: version(7, 0, None), ..trace(50) };
    store.store_trace(other).await?;
    same("the versions", &store.flow_versions(FlowId::new("billing")).await?, &ascending.to_vec())?;
    same("of the other flow", &store.flow_versions(FlowId::new("Billing")).await?, &vec![version(7, 0, None)])?;
    same("of an unknown flow", &store.flow_versions(FlowId::new("bill")).await?, &Vec::new())
}

async fn the_size_is_told_where_stats_tell_it(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), (0..100).map(event))).await?;
    let (stats, metrics) = (store.stats().await?, store.get_metrics().await?);
    same("get_metrics().storage_bytes.is_some()", &metrics.storage_bytes.is_some(), &stats.bytes.is_some())?;
    ensure!(metrics.storage_bytes != Some(0), "expected a size of what is stored, found none");
    ensure!(metrics.storage_size_mb.is_nan() == stats.bytes.is_none(), "expected the same in MB, found {metrics:?}");
    Ok(())
}

async fn stats_tell_what_is_stored(store: &Store) -> Outcome {
    let starts = [at(5), DateTime::from_timestamp_nanos(-1), at(6)];
    for (number, start_time) in (0..).zip(starts) {
        let trace = FlowTrace { start_time, ..with_events(trace(number), (0..number).map(event)) };
        store.store_trace(trace).await?;
    }
    let stats = store.stats().await?;
    same("stats().traces", &stats.traces, &3)?;
    same("stats().events", &stats.events, &3)?;
    same("stats().oldest", &stats.oldest, &Some(starts[1]))?;
    same("stats().newest", &stats.newest, &Some(starts[2]))
}
