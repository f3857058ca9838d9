//! Everything that a store holds, as one stream.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use reflow_tracing_model::{FlowTrace, Position, SortOrder, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_storage::streaming::pieces;
use reflow_tracing_storage::{StorageBackend, StorageError, TracePart};

/// Ids of traces without a header that are read at a time.
const IDS: usize = 1_000;

/// A piece of the stream.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // Few are in memory, and none is copied.
pub(super) enum Part {
    /// A trace begins.
    Header(FlowTrace),
    /// A trace begins that has no header.
    Headerless(TraceId),
    /// The next events of the trace that began.
    Events(Vec<TraceEvent>),
    /// What can't be read.
    Unreadable(String),
}

/// A place in the stream: right after this trace. Traces with a header come first, the earliest start before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Place {
    Trace { start_time: i64, trace_id: TraceId },
    Headerless { trace_id: TraceId },
}

impl Place {
    pub(super) fn of(header: &FlowTrace) -> Self {
        let Position { start_time, trace_id } = Position::of(header);
        Self::Trace { start_time, trace_id }
    }

    pub(super) fn trace_id(self) -> TraceId {
        match self {
            Self::Trace { trace_id, .. } | Self::Headerless { trace_id } => trace_id,
        }
    }
}

pub(super) type Parts<'a> = BoxStream<'a, Result<Part, StorageError>>;

/// What matches, whatever the query's window and order, after `after`; with `headerless`, the traces without a header too.
pub(super) fn everything<B: StorageBackend + ?Sized>(
    source: &B,
    query: TraceQuery,
    headerless: bool,
    after: Option<Place>,
) -> Parts<'_> {
    let traces = match after {
        None => Some((query, None)),
        Some(Place::Trace { start_time, .. }) => from_start(query, start_time).map(|query| (query, after)),
        Some(Place::Headerless { .. }) => None,
    };
    let after_id = match after {
        Some(Place::Headerless { trace_id }) => Some(trace_id),
        _ => None,
    };
    let traces = traces.map(|(query, after)| {
        let query = TraceQuery { order: SortOrder::OldestFirst, limit: None, offset: None, page_token: None, ..query };
        let parts = source.stream_traces(query).map_ok(|part| match part {
            TracePart::Header(header) => Part::Header(header),
            TracePart::Events(events) => Part::Events(events),
            TracePart::Unreadable(what) => Part::Unreadable(what),
        });
        beyond(parts.boxed(), after)
    });
    let without = headerless.then(|| traces_without_header(source, after_id));
    stream::iter(traces.into_iter().chain(without)).flatten().boxed()
}

/// The query for what starts at `start` or later; `None` when nothing can match it.
fn from_start(mut query: TraceQuery, start: i64) -> Option<TraceQuery> {
    let start = chrono::DateTime::from_timestamp_nanos(start);
    let end = chrono::DateTime::from_timestamp_nanos(i64::MAX);
    let (from, to) = query.time_range.map_or((start, end), |(from, to)| (from.max(start), to));
    query.time_range = Some((from, to));
    (from <= to).then_some(query)
}

/// The parts of traces that come after a place.
pub(super) fn beyond(parts: Parts<'_>, after: Option<Place>) -> Parts<'_> {
    let Some(after) = after else { return parts };
    let mut reached = false;
    parts
        .try_filter(move |part| {
            match part {
                Part::Header(header) => reached = Place::of(header) > after,
                Part::Headerless(trace_id) => reached = Place::Headerless { trace_id: *trace_id } > after,
                Part::Events(_) => {}
                // Told before the place was reached, in the run that reached it.
                Part::Unreadable(_) => {}
            }
            std::future::ready(reached)
        })
        .boxed()
}

fn traces_without_header<B: StorageBackend + ?Sized>(source: &B, after: Option<TraceId>) -> Parts<'_> {
    stream::try_unfold(Some(after), move |after| async move {
        let Some(after) = after else { return Ok::<_, StorageError>(None) };
        let ids = source.headerless_traces(after, IDS).await?;
        let next = ids.last().filter(|_| ids.len() == IDS).map(|last| Some(*last));
        Ok(Some((stream::iter(ids.into_iter().map(Ok::<_, StorageError>)), next)))
    })
    .try_flatten()
    .map_ok(move |trace_id| {
        let events = pieces(source.stream_events(trace_id)).map_ok(Part::Events);
        stream::once(async move { Ok::<_, StorageError>(Part::Headerless(trace_id)) }).chain(events)
    })
    .try_flatten()
    .boxed()
}
