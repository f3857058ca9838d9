//! What the six required methods of a backend are enough for: the provided ones.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{StorageBackend, StorageError, StorageStats};
use crate::model::{FlowId, FlowTrace, FlowVersion, SortOrder, TracePage, TraceQuery};

/// A page whose token is the number of traces before it.
///
/// Traces that are stored meanwhile shift the pages, so a backend that can do better should.
pub(super) async fn by_offset<B: StorageBackend + ?Sized>(
    backend: &B,
    query: TraceQuery,
) -> Result<TracePage, StorageError> {
    query.validate().map_err(StorageError::InvalidArgument)?;
    let offset = match &query.page_token {
        None => query.offset.unwrap_or(0),
        Some(token) => token.parse().map_err(|_| {
            StorageError::InvalidArgument(format!("page_token {token:?} is not one that this store gave"))
        })?,
    };
    let limit = query.limit.unwrap_or(TraceQuery::DEFAULT_LIMIT);
    if limit == 0 {
        return Ok(TracePage::default());
    }
    let traces = backend.query_traces(TraceQuery { offset: Some(offset), page_token: None, ..query }).await?;
    let next_page_token = (traces.len() == limit).then(|| (offset + limit).to_string());
    Ok(TracePage { traces, next_page_token })
}

/// Calls `each` with every trace that matches, a page at a time.
async fn for_each<B: StorageBackend + ?Sized>(
    backend: &B,
    query: TraceQuery,
    mut each: impl FnMut(FlowTrace) + Send,
) -> Result<(), StorageError> {
    let mut query = TraceQuery { limit: None, offset: None, page_token: None, ..query };
    loop {
        let page = backend.query_page(query.clone()).await?;
        page.traces.into_iter().for_each(&mut each);
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => return Ok(()),
        }
    }
}

pub(super) async fn count<B: StorageBackend + ?Sized>(backend: &B, query: TraceQuery) -> Result<u64, StorageError> {
    let mut count = 0;
    for_each(backend, query, |_| count += 1).await?;
    Ok(count)
}

pub(super) async fn flow_versions<B: StorageBackend + ?Sized>(
    backend: &B,
    flow_id: FlowId,
) -> Result<Vec<FlowVersion>, StorageError> {
    let mut versions = BTreeSet::new();
    let of_flow = TraceQuery { flow_id: Some(flow_id), ..TraceQuery::default() };
    for_each(backend, of_flow, |trace| {
        versions.insert(trace.version);
    })
    .await?;
    Ok(versions.into_iter().collect())
}

pub(super) async fn stats<B: StorageBackend + ?Sized>(backend: &B) -> Result<StorageStats, StorageError> {
    let mut stats = StorageStats::default();
    for_each(backend, TraceQuery::default(), |trace| {
        stats.traces += 1;
        stats.events += trace.events.len() as u64;
        let start = trace.start_time;
        stats.oldest = Some(stats.oldest.map_or(start, |oldest| oldest.min(start)));
        stats.newest = Some(stats.newest.map_or(start, |newest| newest.max(start)));
    })
    .await?;
    Ok(stats)
}

pub(super) async fn delete_before<B: StorageBackend + ?Sized>(
    backend: &B,
    time: DateTime<Utc>,
) -> Result<u64, StorageError> {
    // The oldest first and always from the first page: what was on it is gone.
    let oldest = TraceQuery { order: SortOrder::OldestFirst, ..TraceQuery::default() };
    let mut deleted = 0;
    loop {
        let page = backend.query_page(oldest.clone()).await?;
        let before = page.traces.iter().filter(|trace| trace.start_time < time);
        let mut deleted_now = 0;
        for trace in before {
            deleted_now += u64::from(backend.delete_trace(trace.trace_id).await?);
        }
        deleted += deleted_now;
        if deleted_now == 0 {
            return Ok(deleted);
        }
    }
}
