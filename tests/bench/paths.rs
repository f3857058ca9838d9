//! The calls that are measured, the same for every backend. Each returns the seconds that one unit of its work takes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing::{FlowTrace, TraceId, TraceQuery};

use crate::measure::{Rounds, seconds_each};
use crate::workload::{Batch, EVENTS_A_TRACE, in_batches};
use crate::{BATCH, Sizes};

/// The traces of a page.
pub const PAGE: usize = 20;

/// Stores events in batches, one after another.
pub async fn store(storage: &dyn StorageBackend, events: Batch) -> Result<f64> {
    let count = events.len();
    let batches = in_batches(events, BATCH);
    let start = Instant::now();
    for batch in batches {
        storage.store_events(batch).await?;
    }
    Ok(seconds_each(start, count))
}

/// Stores events one by one, each share by a writer of its own.
pub async fn store_concurrently<S>(storage: &Arc<S>, shares: Vec<Batch>) -> Result<f64>
where
    S: StorageBackend + 'static,
{
    let count = shares.iter().map(Vec::len).sum();
    let start = Instant::now();
    let writers = shares.into_iter().map(|share| {
        let storage = Arc::clone(storage);
        tokio::spawn(async move {
            for (trace_id, event) in share {
                storage.store_event(trace_id, event).await?;
            }
            anyhow::Ok(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(seconds_each(start, count))
}

/// Reads traces of [`EVENTS_A_TRACE`] events.
pub async fn get_traces(
    storage: &dyn StorageBackend,
    trace_ids: impl ExactSizeIterator<Item = TraceId>,
) -> Result<f64> {
    let count = trace_ids.len();
    let start = Instant::now();
    for trace_id in trace_ids {
        let trace = storage.get_trace(trace_id).await?;
        let events = trace.map_or(0, |trace| trace.events.len());
        ensure!(events == EVENTS_A_TRACE, "trace {trace_id} is not complete");
    }
    Ok(seconds_each(start, count))
}

/// The deep page of a query beside its first page.
pub async fn pages(storage: &dyn StorageBackend, first: &TraceQuery, sizes: &Sizes) -> Result<Rounds> {
    let mut deep = first.clone();
    for page in 1..sizes.deep_page {
        let next = storage.query_page(deep.clone().into()).await?.next_page_token;
        deep.page_token = Some(next.with_context(|| format!("page {page} is the last"))?);
    }
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let floor = async || get_page(storage, first, sizes).await;
        let path = async || get_page(storage, &deep, sizes).await;
        rounds.round(floor, path).await?;
    }
    Ok(rounds)
}

async fn get_page(storage: &dyn StorageBackend, query: &TraceQuery, sizes: &Sizes) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..sizes.reads {
        let page = storage.query_page(query.clone().into()).await?;
        let complete = |trace: &FlowTrace| trace.events.len() == EVENTS_A_TRACE;
        ensure!(page.traces.len() == PAGE && page.traces.iter().all(complete), "a page is not complete");
    }
    Ok(seconds_each(start, sizes.reads))
}
