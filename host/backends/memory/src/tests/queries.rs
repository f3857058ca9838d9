//! The number of traces that a query examines.

use std::sync::atomic::Ordering::Relaxed;

use chrono::{DateTime, Utc};
use reflow_tracing_storage::StorageBackendExt;

use super::*;
use reflow_tracing_model::{ExecutionId, Position, SortOrder};

const TRACES: usize = 10_000;
const FLOWS: usize = 100;

fn start(number: usize) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + number as i64, 0).unwrap()
}

/// Ten thousand traces of a hundred flows, a second apart; in every thousandth `rare` takes part, in all `frequent`.
async fn filled() -> (MemoryStorage, Vec<FlowTrace>) {
    let traces: Vec<_> = (0..TRACES)
        .map(|number| {
            let event = |actor_id: String| TraceEvent { actor_id, ..Default::default() };
            let mut events = vec![event("frequent".into()), event(format!("only-{number}"))];
            if number % 1_000 == 0 {
                events.push(event("rare".into()));
            }
            let flow = FlowId::new(format!("flow-{}", number % FLOWS));
            FlowTrace { start_time: start(number), events, ..FlowTrace::new(flow, FlowVersion::default()) }
        })
        .collect();
    let storage = store(MemoryConfig { max_traces: TRACES, ..Default::default() });
    storage.store_traces(traces.clone()).await.unwrap();
    (storage, traces)
}

/// The page, and the number of traces examined for it.
async fn looked_at(storage: &MemoryStorage, query: &TraceQuery) -> (TracePage, usize) {
    let looked_at = || storage.0.inner().read().looked_at.load(Relaxed);
    let before = looked_at();
    let page = storage.query_page(query.clone().into()).await.unwrap();
    (page, looked_at() - before)
}

fn numbers(page: &TracePage) -> Vec<i64> {
    page.traces.iter().map(|trace| (trace.start_time - start(0)).num_seconds()).collect()
}

#[tokio::test]
async fn a_page_examines_its_own_traces_and_one_more() {
    let (storage, _) = filled().await;
    for order in [SortOrder::NewestFirst, SortOrder::OldestFirst] {
        for flow_id in [None, Some(FlowId::new("flow-7"))] {
            let mut query = TraceQuery { flow_id, order, limit: Some(20), ..Default::default() };
            for page_number in 0..4 {
                let (page, looked_at) = looked_at(&storage, &query).await;
                assert_eq!((page.traces.len(), looked_at), (20, 21), "page {page_number} of {query:?}");
                query.page_token = page.next_page_token;
            }
        }
    }
}

#[tokio::test]
async fn a_later_page_examines_as_many_traces_as_the_first() {
    let (storage, traces) = filled().await;
    let token = Some(Position::of(&traces[5_000]).token());
    let query = TraceQuery { limit: Some(20), page_token: token, ..Default::default() };
    let (page, looked_at_all) = looked_at(&storage, &query).await;
    assert_eq!(numbers(&page), (4_980..5_000).rev().collect::<Vec<_>>());
    assert_eq!(looked_at_all, 21);
    let of_flow = TraceQuery { flow_id: Some(FlowId::new("flow-0")), ..query };
    let (page, looked_at_flow) = looked_at(&storage, &of_flow).await;
    assert_eq!(numbers(&page), (30..50).rev().map(|hundreds| hundreds * 100).collect::<Vec<_>>());
    assert_eq!(looked_at_flow, 21);
}

#[tokio::test]
async fn a_time_range_examines_only_traces_in_the_range() {
    let (storage, _) = filled().await;
    for order in [SortOrder::NewestFirst, SortOrder::OldestFirst] {
        let query = TraceQuery { time_range: Some((start(3_000), start(3_049))), order, ..Default::default() };
        let (page, looked_at_all) = looked_at(&storage, &query).await;
        assert_eq!((page.traces.len(), looked_at_all), (50, 50));
        let of_flow = TraceQuery { flow_id: Some(FlowId::new("flow-30")), ..query };
        let (page, looked_at_flow) = looked_at(&storage, &of_flow).await;
        assert_eq!((numbers(&page), looked_at_flow), (vec![3_030], 1));
    }
}

#[tokio::test]
async fn an_execution_examines_only_its_own_trace() {
    let (storage, traces) = filled().await;
    let of = |execution_id| TraceQuery { execution_id: Some(execution_id), ..Default::default() };
    let (page, looked_at_one) = looked_at(&storage, &of(traces[1_234].execution_id)).await;
    assert_eq!((numbers(&page), looked_at_one), (vec![1_234], 1));
    let (page, looked_at_none) = looked_at(&storage, &of(ExecutionId::new())).await;
    assert_eq!((page.traces.len(), looked_at_none), (0, 0));
}

#[tokio::test]
async fn an_actor_filter_examines_only_traces_of_matching_actors() {
    let (storage, _) = filled().await;
    let of = |part: &str| TraceQuery { actor_filter: Some(part.into()), limit: Some(20), ..Default::default() };
    let (page, rare) = looked_at(&storage, &of("are")).await;
    assert_eq!((numbers(&page), rare), ((0..10).rev().map(|n| n * 1_000).collect(), 10));
    let (page, few) = looked_at(&storage, &of("only-777")).await;
    assert_eq!((page.traces.len(), few), (11, 11), "only-777 and only-7770 to only-7779");
    let (page, frequent) = looked_at(&storage, &of("frequent")).await;
    assert_eq!((page.traces.len(), frequent), (20, 21));
    let (page, many) = looked_at(&storage, &of("only-")).await;
    assert_eq!((page.traces.len(), many), (20, 21), "ten thousand actors");
    let (page, none) = looked_at(&storage, &of("nobody")).await;
    assert_eq!((page.traces.len(), none), (0, 0));
    // Of a flow and an actor, the smaller set is walked.
    let of_flow = TraceQuery { flow_id: Some(FlowId::new("flow-0")), ..of("rare") };
    assert_eq!(looked_at(&storage, &of_flow).await.1, 10);
}

#[tokio::test]
async fn indexes_follow_replacements_and_deletions() {
    let (storage, traces) = filled().await;
    let moved = FlowTrace {
        flow_id: FlowId::new("elsewhere"),
        start_time: start(TRACES),
        execution_id: ExecutionId::new(),
        events: Vec::new(),
        ..traces[0].clone()
    };
    storage.store_trace(moved.clone()).await.unwrap();
    let rare = TraceQuery { actor_filter: Some("rare".into()), limit: Some(1), ..Default::default() };
    assert_eq!(numbers(&looked_at(&storage, &rare).await.0), [TRACES as i64], "the newest now");
    let old = TraceQuery { execution_id: Some(traces[0].execution_id), ..Default::default() };
    assert_eq!(looked_at(&storage, &old).await, (TracePage::default(), 0));
    let new = TraceQuery { flow_id: Some(moved.flow_id), ..Default::default() };
    assert_eq!(looked_at(&storage, &new).await.1, 1);
    storage.delete_trace(moved.trace_id).await.unwrap();
    assert_eq!(looked_at(&storage, &new).await, (TracePage::default(), 0));
    assert_eq!(storage.delete_before(start(TRACES + 1)).await.unwrap(), TRACES as u64 - 1);
    assert_eq!(bytes(&storage).await, 0, "indexes and names are gone too");
}
