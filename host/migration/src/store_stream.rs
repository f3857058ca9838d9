//! The whole contents of a store as one stream.
//!
//! It is the stream of the contract ([`StorageBackend::stream_traces`]), followed by the traces without a header.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::{FlowTrace, Position, SortOrder, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_storage::streaming::event_batches;
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError, TracePart};
use serde::{Deserialize, Serialize};

/// Ids of traces without a header per page.
const IDS: usize = 1_000;

/// An item of the stream.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // Few are in memory, and none is copied.
pub(crate) enum StorePart {
    /// The header of the next trace.
    Header(FlowTrace),
    /// The next trace, which has no header.
    Headerless(TraceId),
    /// The next events of the current trace.
    Events(Vec<TraceEvent>),
    /// Unreadable data that was skipped.
    Unreadable(String),
}

impl StorePart {
    /// The approximate size in memory in bytes. Headers count as a constant.
    pub(crate) fn approximate_bytes(&self) -> usize {
        const HEADER: usize = 500;
        match self {
            Self::Events(events) => events.iter().map(TraceEvent::approximate_bytes).sum(),
            _ => HEADER,
        }
    }
}

/// A position in the stream: right after this trace. Part of the journal format, so the names must not change.
///
/// Traces with a header come first, ordered by ascending start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum StreamPosition {
    Trace { start_time: i64, trace_id: TraceId },
    Headerless { trace_id: TraceId },
}

impl StreamPosition {
    pub(crate) fn of(header: &FlowTrace) -> Self {
        let Position { start_time, trace_id } = Position::of(header);
        Self::Trace { start_time, trace_id }
    }

    pub(crate) fn trace_id(self) -> TraceId {
        match self {
            Self::Trace { trace_id, .. } | Self::Headerless { trace_id } => trace_id,
        }
    }
}

pub(crate) type StoreStream<'a> = BoxStream<'a, Result<StorePart, StorageError>>;

/// The matching traces after `after`, regardless of limit, offset and order; with `headerless`, also the traces without a
/// header.
pub(crate) fn stream_store<B: StorageBackend + ?Sized>(
    source: &B,
    query: TraceQuery,
    headerless: bool,
    after: Option<StreamPosition>,
) -> StoreStream<'_> {
    let traces = match after {
        None => Some((query, None)),
        Some(StreamPosition::Trace { start_time, .. }) => from_start(query, start_time).map(|query| (query, after)),
        Some(StreamPosition::Headerless { .. }) => None,
    };
    let after_id = match after {
        Some(StreamPosition::Headerless { trace_id }) => Some(trace_id),
        _ => None,
    };
    let traces = traces.map(|(query, after)| {
        let query = TraceQuery { order: SortOrder::OldestFirst, limit: None, offset: None, page_token: None, ..query };
        let parts = source.stream_traces(query).map_ok(|part| match part {
            TracePart::Header(header) => StorePart::Header(header),
            TracePart::Events(events) => StorePart::Events(events),
            TracePart::Unreadable(what) => StorePart::Unreadable(what),
        });
        resume_after(parts.boxed(), after)
    });
    let without = headerless.then(|| headerless_traces_of(source, after_id));
    stream::iter(traces.into_iter().chain(without)).flatten().boxed()
}

/// The query for traces that start at `start` or later; `None` if nothing can match.
fn from_start(mut query: TraceQuery, start: i64) -> Option<TraceQuery> {
    let start = chrono::DateTime::from_timestamp_nanos(start);
    let end = chrono::DateTime::from_timestamp_nanos(i64::MAX);
    let (from, to) = query.time_range.map_or((start, end), |(from, to)| (from.max(start), to));
    query.time_range = Some((from, to));
    (from <= to).then_some(query)
}

/// The parts after a position, where an interrupted copy continues.
pub(crate) fn resume_after(parts: StoreStream<'_>, after: Option<StreamPosition>) -> StoreStream<'_> {
    let Some(after) = after else { return parts };
    let mut reached = false;
    parts
        .try_filter(move |part| {
            match part {
                StorePart::Header(header) => reached = StreamPosition::of(header) > after,
                StorePart::Headerless(trace_id) => reached = StreamPosition::Headerless { trace_id: *trace_id } > after,
                StorePart::Events(_) => {}
                // The run that reached the position reported it.
                StorePart::Unreadable(_) => {}
            }
            std::future::ready(reached)
        })
        .boxed()
}

fn headerless_traces_of<B: StorageBackend + ?Sized>(source: &B, after: Option<TraceId>) -> StoreStream<'_> {
    stream::try_unfold(Some(after), move |after| async move {
        let Some(after) = after else { return Ok::<_, StorageError>(None) };
        let ids = source.headerless_traces(after, IDS).await?;
        let next = ids.last().filter(|_| ids.len() == IDS).map(|last| Some(*last));
        Ok(Some((stream::iter(ids.into_iter().map(Ok::<_, StorageError>)), next)))
    })
    .try_flatten()
    .map_ok(move |trace_id| {
        let events = event_batches(source.stream_events(trace_id)).map_ok(StorePart::Events);
        stream::once(async move { Ok::<_, StorageError>(StorePart::Headerless(trace_id)) }).chain(events)
    })
    .try_flatten()
    .boxed()
}
