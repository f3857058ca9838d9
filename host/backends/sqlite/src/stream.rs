//! Streams traces and events in batches. Each batch is a read transaction of its own, because a long transaction would keep
//! SQLite from truncating the log.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use rusqlite::{Connection, params, params_from_iter};

use super::pool::Pool;
use super::read::sequence_of;
use super::select::{Select, narrowed};
use super::{event, header};
use reflow_tracing_model::{EventKey, Position, TraceEvent, TraceId, TraceQuery, Window};
use reflow_tracing_storage::streaming::BatchBudget;
use reflow_tracing_storage::{StorageError, TracePart};

/// Headers per statement; usually the batch is full before.
const HEADERS: usize = 1_000;

/// The position within a trace that is read in part.
#[derive(Clone, Copy)]
struct Rest {
    sequence: i64,
    trace_id: TraceId,
    /// The last event read.
    after: Option<EventKey>,
}

/// The events of a trace.
pub(super) fn events(readers: &Pool, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
    enum EventsPosition {
        Start,
        Within(Rest),
        End,
    }
    stream::try_unfold(EventsPosition::Start, move |position| async move {
        let (events, rest) = match position {
            EventsPosition::End => return Ok::<_, StorageError>(None),
            EventsPosition::Within(rest) => {
                readers.read(move |connection| read_rest(connection, rest, &mut BatchBudget::default())).await?
            }
            EventsPosition::Start => {
                let read = move |connection: &Connection| match sequence_of(connection, trace_id)? {
                    Some(sequence) => {
                        let rest = Rest { sequence, trace_id, after: None };
                        read_events(connection, rest, &mut BatchBudget::default())
                    }
                    None => Ok((Vec::new(), None)),
                };
                readers.read(read).await?
            }
        };
        Ok(Some((stream::iter(events.into_iter().map(Ok)), rest.map_or(EventsPosition::End, EventsPosition::Within))))
    })
    .try_flatten()
    .boxed()
}

/// The matching traces in order.
pub(super) fn traces(readers: &Pool, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
    stream::try_unfold(Some(TracesPosition::default()), move |position| {
        let query = query.clone();
        async move {
            let Some(position) = position else { return Ok::<_, StorageError>(None) };
            query.validate().map_err(StorageError::InvalidArgument)?;
            let (parts, next) = readers.read(move |connection| read_traces(connection, query, position)).await?;
            Ok(Some((stream::iter(parts.into_iter().map(Ok)), next)))
        }
    })
    .try_flatten()
    .boxed()
}

#[derive(Clone, Copy, Default)]
struct TracesPosition {
    /// The last trace that was read, at least in part.
    after: Option<Position>,
    /// The rest of that trace, if its events were not all read.
    rest: Option<Rest>,
}

/// One batch of traces, and the position after it; `None` at the end.
fn read_traces(
    connection: &Connection,
    query: TraceQuery,
    mut position: TracesPosition,
) -> rusqlite::Result<(Vec<TracePart>, Option<TracesPosition>)> {
    let mut budget = BatchBudget::default();
    let mut parts = Vec::new();
    if let Some(rest) = position.rest {
        let (events, rest) = read_rest(connection, rest, &mut budget)?;
        if !events.is_empty() {
            parts.push(TracePart::Events(events));
        }
        position.rest = rest;
        if rest.is_some() || !budget.is_left() {
            return Ok((parts, Some(position)));
        }
    }
    let window = Window { limit: HEADERS, offset: 0, after: position.after };
    let (sql, parameters) = Select::new(&narrowed(query, position.after)).page(window);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    let mut headers = 0;
    while let Some(row) = rows.next()? {
        if !budget.is_left() || headers == HEADERS {
            return Ok((parts, Some(position)));
        }
        let (sequence, header) = (row.get(0)?, header::read(row, 1)?);
        headers += 1;
        budget.take_header(&header);
        position.after = Some(Position::of(&header));
        let rest = Rest { sequence, trace_id: header.trace_id, after: None };
        parts.push(TracePart::Header(header));
        let (events, rest) = read_events(connection, rest, &mut budget)?;
        if !events.is_empty() {
            parts.push(TracePart::Events(events));
        }
        if rest.is_some() {
            position.rest = rest;
            return Ok((parts, Some(position)));
        }
    }
    Ok((parts, None))
}

/// The next events of a trace. None if the trace was deleted: its sequence number may belong to another trace now.
fn read_rest(
    connection: &Connection,
    rest: Rest,
    budget: &mut BatchBudget,
) -> rusqlite::Result<(Vec<TraceEvent>, Option<Rest>)> {
    match sequence_of(connection, rest.trace_id)? {
        Some(sequence) if sequence == rest.sequence => read_events(connection, rest, budget),
        _ => Ok((Vec::new(), None)),
    }
}

/// Events within the budget, at least one, and the position after them; `None` after the last event.
fn read_events(
    connection: &Connection,
    mut rest: Rest,
    budget: &mut BatchBudget,
) -> rusqlite::Result<(Vec<TraceEvent>, Option<Rest>)> {
    let mut events = Vec::new();
    let mut statement = connection.prepare_cached(include_str!("sql/get_events_after.sql"))?;
    let mut rows = match rest.after {
        Some((timestamp, event_id)) => statement.query(params![rest.sequence, timestamp, event_id.0.as_bytes()])?,
        // This is less than every key.
        None => statement.query(params![rest.sequence, i64::MIN, [0_u8; 0]])?,
    };
    while let Some(row) = rows.next()? {
        if !events.is_empty() && !budget.is_left() {
            return Ok((events, Some(rest)));
        }
        let event = event::read(row)?;
        budget.take(&event);
        rest.after = Some(event.key());
        events.push(event);
    }
    Ok((events, None))
}
