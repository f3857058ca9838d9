//! Generated writes and queries, whose results are compared with the [`Oracle`].

use std::collections::BTreeSet;
use std::future::Future;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::case::ensure;
use super::compare::{same, same_traces};
use super::{Ability, Failure, Oracle, Outcome, Subject, Suite, generate};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::{PageRequest, StorageBackend, StorageBackendExt, StorageError, TracePart};

/// A change of a store.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Each is the method of its name.
pub enum Write {
    StoreTrace(FlowTrace),
    StoreTraces(Vec<FlowTrace>),
    StoreEvent(TraceId, TraceEvent),
    StoreEvents(Vec<(TraceId, TraceEvent)>),
    DeleteTrace(TraceId),
    DeleteBefore(DateTime<Utc>),
}

/// Writes to a store, and the queries after them.
#[derive(Debug, Clone)]
pub struct History {
    /// In this order.
    pub writes: Vec<Write>,
    /// After all writes.
    pub queries: Vec<TraceQuery>,
}

impl History {
    /// Histories with these numbers of writes and queries, drawn from small pools, so that they collide and match.
    pub fn any(writes: impl Into<SizeRange>, queries: impl Into<SizeRange>) -> impl Strategy<Value = History> {
        let addressed = || (generate::pooled_trace_id(), generate::pooled_event());
        let write = prop_oneof![
            4 => generate::pooled_trace().prop_map(Write::StoreTrace),
            2 => vec(generate::pooled_trace(), 0..4).prop_map(Write::StoreTraces),
            3 => addressed().prop_map(|(trace_id, event)| Write::StoreEvent(trace_id, event)),
            3 => vec(addressed(), 0..8).prop_map(Write::StoreEvents),
            1 => generate::pooled_trace_id().prop_map(Write::DeleteTrace),
            1 => generate::pooled_time().prop_map(Write::DeleteBefore),
        ];
        (vec(write, writes), vec(generate::pooled_query(), queries))
            .prop_map(|(writes, queries)| History { writes, queries })
    }

    /// The same with no deletion.
    #[must_use]
    pub fn without_deletion(mut self) -> Self {
        self.writes.retain(|write| !matches!(write, Write::DeleteTrace(_) | Write::DeleteBefore(_)));
        self
    }
}

/// Applies `history` to an empty `backend` and compares every result with the oracle's.
pub async fn check_against_oracle(backend: &dyn StorageBackend, history: &History) -> Outcome {
    let mut oracle = Oracle::default();
    let mut ids = BTreeSet::new();
    for write in history.writes.iter().cloned() {
        apply(backend, &mut oracle, write).await?;
        ids.append(&mut oracle.trace_ids());
    }
    for trace_id in ids {
        same(format!("get_trace({trace_id})"), &backend.get_trace(trace_id).await?, &oracle.trace(trace_id))?;
        same(format!("get_events({trace_id})"), &backend.get_events(trace_id).await?, &oracle.events(trace_id))?;
    }
    for query in [TraceQuery::default()].iter().chain(&history.queries) {
        check_query(backend, &oracle, query).await?;
    }
    let flows: BTreeSet<_> = oracle.traces().into_iter().map(|trace| trace.flow_id).collect();
    for flow_id in flows {
        let found = backend.flow_versions(flow_id.clone()).await?;
        same(format!("flow_versions({flow_id:?})"), &found, &oracle.flow_versions(&flow_id))?;
    }
    match backend.headerless_traces(None, usize::MAX).await {
        Ok(found) => same("headerless_traces", &found, &oracle.headerless())?,
        Err(StorageError::Unsupported(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let (found, expected) = (backend.stats().await?, oracle.stats());
    same("stats().traces", &found.traces, &expected.traces)?;
    same("stats().oldest and newest", &(found.oldest, found.newest), &(expected.oldest, expected.newest))
}

async fn apply(backend: &dyn StorageBackend, oracle: &mut Oracle, write: Write) -> Outcome {
    match write {
        Write::StoreTrace(trace) => {
            backend.store_trace(trace.clone()).await?;
            oracle.store_trace(trace);
        }
        Write::StoreTraces(traces) => {
            backend.store_traces(traces.clone()).await?;
            traces.into_iter().for_each(|trace| oracle.store_trace(trace));
        }
        Write::StoreEvent(trace_id, event) => {
            backend.store_event(trace_id, event.clone()).await?;
            oracle.store_event(trace_id, event);
        }
        Write::StoreEvents(events) => {
            backend.store_events(events.clone()).await?;
            events.into_iter().for_each(|(trace_id, event)| oracle.store_event(trace_id, event));
        }
        Write::DeleteTrace(trace_id) => {
            let found = backend.delete_trace(trace_id).await?;
            same(format!("delete_trace({trace_id})"), &found, &oracle.delete_trace(trace_id))?;
        }
        Write::DeleteBefore(time) => {
            let found = backend.delete_before(time).await?;
            same(format!("delete_before({time})"), &found, &oracle.delete_before(time))?;
        }
    }
    Ok(())
}

/// Compares the results of a query: whole, counted, and page by page.
async fn check_query(backend: &dyn StorageBackend, oracle: &Oracle, query: &TraceQuery) -> Outcome {
    same_traces(format!("the answer to {query:?}"), &backend.query_traces(query.clone()).await?, &oracle.query(query))?;
    let matching = oracle.matching(query);
    let counted = backend.count_traces(query.clone()).await?;
    same(format!("count_traces of {query:?}"), &counted, &(matching.len() as u64))?;
    let streamed = all_streamed(backend, query.clone()).await?;
    same_traces(format!("the stream of {query:?}"), &streamed, &matching)?;
    let headers = backend.query_page(PageRequest { total: true, ..PageRequest::headers(query.clone()) }).await?;
    let expected = oracle.query(query).into_iter().map(|trace| FlowTrace { events: Vec::new(), ..trace });
    same_traces(format!("the headers of {query:?}"), &headers.traces, &expected.collect::<Vec<_>>())?;
    same(format!("the total of {query:?}"), &headers.total, &Some(matching.len() as u64))?;
    if query.limit != Some(0) {
        let paged = all_pages(backend, query.clone()).await?;
        let expected: Vec<_> = matching.into_iter().skip(query.offset.unwrap_or(0)).collect();
        same_traces(format!("the pages of {query:?}"), &paged, &expected)?;
    }
    Ok(())
}

/// The traces of all pages.
pub(super) async fn all_pages(backend: &dyn StorageBackend, query: TraceQuery) -> Result<Vec<FlowTrace>, Failure> {
    follow_tokens(query, |query| backend.query_page(query.into())).await
}

/// The headers of all pages.
pub(super) async fn all_headers(backend: &dyn StorageBackend, query: TraceQuery) -> Result<Vec<FlowTrace>, Failure> {
    follow_tokens(query, |query| backend.query_headers(query)).await
}

async fn follow_tokens<F>(mut query: TraceQuery, page: impl Fn(TraceQuery) -> F) -> Result<Vec<FlowTrace>, Failure>
where
    F: Future<Output = Result<TracePage, StorageError>>,
{
    /// More pages than any case has traces.
    const MOST_PAGES: usize = 20_000;
    let limit = query.limit.unwrap_or(TraceQuery::DEFAULT_LIMIT);
    let mut traces = Vec::new();
    for _ in 0..MOST_PAGES {
        let page = page(query.clone()).await?;
        ensure!(page.traces.len() <= limit, "a page of {} traces; the limit was {limit}", page.traces.len());
        traces.extend(page.traces);
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => return Ok(traces),
        }
    }
    Err(Failure::here(format_args!("still no last page after {MOST_PAGES}; {} traces so far", traces.len())))
}

/// The traces of a stream, assembled.
pub(super) async fn all_streamed(backend: &dyn StorageBackend, query: TraceQuery) -> Result<Vec<FlowTrace>, Failure> {
    let mut parts = backend.stream_traces(query);
    let mut traces: Vec<FlowTrace> = Vec::new();
    while let Some(part) = parts.try_next().await? {
        match part {
            TracePart::Header(header) => {
                ensure!(header.events.is_empty(), "expected a header without events, found {}", header.events.len());
                traces.push(header);
            }
            TracePart::Events(events) => {
                let count = events.len();
                ensure!((1..=TracePart::MAX_EVENTS).contains(&count), "a piece of {count} events");
                match traces.last_mut() {
                    Some(trace) => trace.events.extend(events),
                    None => ensure!(false, "events before the first header"),
                }
            }
            TracePart::Unreadable(what) => ensure!(false, "unreadable: {what}"),
        }
    }
    Ok(traces)
}

/// Compares stores from `factory` with the oracle, one store per generated history, with the default options.
///
/// See [`Suite::check_generated`].
pub fn check_generated<F, Fut>(histories: u32, factory: F) -> Outcome
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Subject, StorageError>>,
{
    Suite::new().check_generated(histories, factory)
}

/// The factor for the number of random tests: `REFLOW_SOAK`, or 1.
fn soak() -> u32 {
    std::env::var("REFLOW_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

impl Suite {
    /// Compares stores from `factory` with the oracle, one store per generated history. A failing history is shrunk, on a
    /// fresh store each time; the failure shows the smallest one.
    ///
    /// The variable `REFLOW_SOAK` multiplies the number of histories.
    ///
    /// Starts a Tokio runtime of its own, so it can't be called from within one.
    pub fn check_generated<F, Fut>(&self, histories: u32, factory: F) -> Outcome
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<Subject, StorageError>>,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::new(format!("no runtime: {error}")))?;
        let mut runner = TestRunner::new(Config {
            cases: histories.saturating_mul(soak()),
            failure_persistence: None,
            // Limit shrinking, so that a failure is reported in reasonable time.
            max_shrink_time: 60_000,
            ..Config::default()
        });
        let deletes = !self.absent.contains(&Ability::Deletion);
        let outcome = runner.run(&History::any(0..=16, 0..=6), |history| {
            let history = if deletes { history } else { history.without_deletion() };
            let checked = runtime.block_on(async {
                let subject = factory().await.map_err(|error| Failure::new(format!("no store to test: {error}")))?;
                let outcome = check_against_oracle(&*subject.store, &history).await;
                let _ = subject.store.close().await;
                outcome
            });
            checked.map_err(|failure| TestCaseError::fail(failure.to_string()))
        });
        outcome.map_err(|error| match error {
            TestError::Fail(reason, history) => Failure::new(format!("{reason}\nafter the smallest {history:#?}")),
            TestError::Abort(reason) => Failure::new(reason.message()),
        })
    }
}
