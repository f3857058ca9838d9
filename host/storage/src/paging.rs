//! The provided methods of the contract, implemented with the six required ones.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, Position, SortOrder, TraceId, TracePage, TraceQuery};

use super::{Deletion, Detail, PageRequest, StorageBackend, StorageError, StorageStats};

/// A page whose token is the position of its last trace, so that traces stored or deleted in between don't shift the pages.
///
/// The six methods can't start after a position, only at a time. So the next page starts at the time of the last trace, and
/// skips the traces of that time that were read already. Pages cost more only if many traces start at the same time.
pub(super) async fn by_position<B: StorageBackend + ?Sized>(
    backend: &B,
    request: PageRequest,
) -> Result<TracePage, StorageError> {
    let PageRequest { query, detail, total } = request;
    query.validate().map_err(StorageError::InvalidArgument)?;
    let window = query.window().map_err(StorageError::InvalidArgument)?;
    let order = query.order;
    let mut traces: Vec<FlowTrace> = Vec::new();
    let mut offset = window.offset;
    let mut after = window.after;
    // Grows, so that many traces with the same start take few steps.
    let mut least = 1;
    // One trace more than the page holds shows whether another page follows.
    while window.limit > 0 && traces.len() <= window.limit {
        let Some(time_range) = from_position_on(query.time_range, order, after) else { break };
        let asked = (window.limit + 1 - traces.len()).max(least).min(TraceQuery::MAX_LIMIT);
        least = (least * 2).min(TraceQuery::MAX_LIMIT);
        let part =
            TraceQuery { time_range, limit: Some(asked), offset: Some(offset), page_token: None, ..query.clone() };
        let found = backend.query_traces(part).await?;
        let (count, from) = (found.len(), after);
        for trace in found {
            let position = Position::of(&trace);
            if after.is_none_or(|after| position.sort_key(order) > after.sort_key(order)) {
                after = Some(position);
                traces.push(trace);
            }
        }
        if count < asked {
            break;
        }
        let same_time = from.is_some_and(|from| after.is_some_and(|after| after.start_time == from.start_time));
        offset = if same_time { offset.saturating_add(count) } else { 0 };
    }
    let more = window.limit > 0 && traces.len() > window.limit;
    traces.truncate(window.limit);
    let next_page_token = traces.last().filter(|_| more).map(|last| Position::of(last).token());
    if detail == Detail::Headers {
        traces.iter_mut().for_each(|trace| trace.events = Vec::new());
    }
    let total = if total { Some(count(backend, query).await?) } else { None };
    Ok(TracePage { traces, next_page_token, total })
}

type TimeRange = (DateTime<Utc>, DateTime<Utc>);

/// The part of the range from a position on, in this order; `None` if it is empty.
fn from_position_on(
    range: Option<TimeRange>,
    order: SortOrder,
    position: Option<Position>,
) -> Option<Option<TimeRange>> {
    let Some(position) = position else { return Some(range) };
    let start = DateTime::from_timestamp_nanos(position.start_time);
    let (from, to) = range.unwrap_or_else(|| [i64::MIN, i64::MAX].map(DateTime::from_timestamp_nanos).into());
    let (from, to) = match order {
        SortOrder::NewestFirst => (from, to.min(start)),
        SortOrder::OldestFirst => (from.max(start), to),
    };
    (from <= to).then_some(Some((from, to)))
}

/// Calls `each` with every matching trace, page by page.
async fn for_each<B: StorageBackend + ?Sized>(
    backend: &B,
    query: TraceQuery,
    mut each: impl FnMut(FlowTrace) + Send,
) -> Result<(), StorageError> {
    let mut query = TraceQuery { limit: None, offset: None, page_token: None, ..query };
    loop {
        let page = backend.query_page(query.clone().into()).await?;
        page.traces.into_iter().for_each(&mut each);
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => return Ok(()),
        }
    }
}

async fn count<B: StorageBackend + ?Sized>(backend: &B, query: TraceQuery) -> Result<u64, StorageError> {
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

/// Deletes traces that started before a time, for backends that can only delete by id.
pub async fn delete_started_before<B: StorageBackend + ?Sized>(
    backend: &B,
    time: DateTime<Utc>,
) -> Result<u64, StorageError> {
    // Oldest first, and always the first page, because the traces of the page before are deleted.
    let oldest = PageRequest::headers(TraceQuery { order: SortOrder::OldestFirst, ..TraceQuery::default() });
    let mut deleted = 0;
    loop {
        let page = backend.query_page(oldest.clone()).await?;
        let before: Vec<TraceId> =
            page.traces.iter().filter(|trace| trace.start_time < time).map(|trace| trace.trace_id).collect();
        let deleted_now = if before.is_empty() { 0 } else { backend.delete(Deletion::Traces(before)).await? };
        deleted += deleted_now;
        if deleted_now == 0 {
            return Ok(deleted);
        }
    }
}
