//! Traces and events piece by piece. Each piece is a read transaction of its own: one that lasted as long as its reader would
//! keep the log from being emptied.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use rusqlite::{Connection, params, params_from_iter};

use super::select::{Select, narrowed};
use super::{SqliteBackend, event, find, header};
use reflow_tracing_model::{EventKey, Position, TraceEvent, TraceId, TraceQuery, Window};
use reflow_tracing_storage::streaming::Room;
use reflow_tracing_storage::{StorageError, TracePart};

/// Headers that one statement looks for; mostly it ends before.
const HEADERS: usize = 1_000;

/// Where the rest of a trace begins.
#[derive(Clone, Copy)]
struct Rest {
    sequence: i64,
    trace_id: TraceId,
    /// The last event that was read.
    after: Option<EventKey>,
}

/// The events of a trace.
pub(super) fn events(storage: &SqliteBackend, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
    enum Place {
        Start,
        Within(Rest),
        End,
    }
    stream::try_unfold(Place::Start, move |place| async move {
        let (events, rest) = match place {
            Place::End => return Ok::<_, StorageError>(None),
            Place::Within(rest) => {
                storage.read(move |connection| read_rest(connection, rest, &mut Room::new())).await?
            }
            Place::Start => {
                let read = move |connection: &Connection| {
                    let sql = "SELECT seq FROM trace WHERE trace_id = ?1";
                    match find(connection, sql, trace_id, |row| row.get(0))? {
                        Some(sequence) => {
                            let rest = Rest { sequence, trace_id, after: None };
                            read_events(connection, rest, &mut Room::new())
                        }
                        None => Ok((Vec::new(), None)),
                    }
                };
                storage.read(read).await?
            }
        };
        Ok(Some((stream::iter(events.into_iter().map(Ok)), rest.map_or(Place::End, Place::Within))))
    })
    .try_flatten()
    .boxed()
}

/// The traces that match, in order.
pub(super) fn traces(storage: &SqliteBackend, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
    stream::try_unfold(Some(Place::default()), move |place| {
        let query = query.clone();
        async move {
            let Some(place) = place else { return Ok::<_, StorageError>(None) };
            query.validate().map_err(StorageError::InvalidArgument)?;
            let (parts, next) = storage.read(move |connection| read_traces(connection, query, place)).await?;
            Ok(Some((stream::iter(parts.into_iter().map(Ok)), next)))
        }
    })
    .try_flatten()
    .boxed()
}

#[derive(Clone, Copy, Default)]
struct Place {
    /// The last trace of which anything was read.
    after: Option<Position>,
    /// What is left of it.
    rest: Option<Rest>,
}

/// What there is room for, and where to go on if there is more.
fn read_traces(
    connection: &Connection,
    query: TraceQuery,
    mut place: Place,
) -> rusqlite::Result<(Vec<TracePart>, Option<Place>)> {
    let mut room = Room::new();
    let mut parts = Vec::new();
    if let Some(rest) = place.rest {
        let (events, rest) = read_rest(connection, rest, &mut room)?;
        if !events.is_empty() {
            parts.push(TracePart::Events(events));
        }
        place.rest = rest;
        if rest.is_some() || !room.is_left() {
            return Ok((parts, Some(place)));
        }
    }
    let window = Window { limit: HEADERS, offset: 0, after: place.after };
    let (sql, parameters) = Select::new(&narrowed(query, place.after)).page(window);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    let mut headers = 0;
    while let Some(row) = rows.next()? {
        if !room.is_left() || headers == HEADERS {
            return Ok((parts, Some(place)));
        }
        let (sequence, header) = (row.get(0)?, header::read(row, 1)?);
        headers += 1;
        room.take_header();
        place.after = Some(Position::of(&header));
        let rest = Rest { sequence, trace_id: header.trace_id, after: None };
        parts.push(TracePart::Header(header));
        let (events, rest) = read_events(connection, rest, &mut room)?;
        if !events.is_empty() {
            parts.push(TracePart::Events(events));
        }
        if rest.is_some() {
            place.rest = rest;
            return Ok((parts, Some(place)));
        }
    }
    Ok((parts, None))
}

/// What there is room for of the rest of a trace. Nothing when it was deleted meanwhile: its number may be another's now.
fn read_rest(
    connection: &Connection,
    rest: Rest,
    room: &mut Room,
) -> rusqlite::Result<(Vec<TraceEvent>, Option<Rest>)> {
    let sql = "SELECT seq FROM trace WHERE trace_id = ?1";
    match find(connection, sql, rest.trace_id, |row| row.get::<_, i64>(0))? {
        Some(sequence) if sequence == rest.sequence => read_events(connection, rest, room),
        _ => Ok((Vec::new(), None)),
    }
}

/// Events that there is room for, one at least, and where to go on if there are more.
fn read_events(
    connection: &Connection,
    mut rest: Rest,
    room: &mut Room,
) -> rusqlite::Result<(Vec<TraceEvent>, Option<Rest>)> {
    let mut events = Vec::new();
    let mut statement = connection.prepare_cached(include_str!("sql/get_events_after.sql"))?;
    let mut rows = match rest.after {
        Some((timestamp, event_id)) => statement.query(params![rest.sequence, timestamp, event_id.0.as_bytes()])?,
        // Nothing is as small.
        None => statement.query(params![rest.sequence, i64::MIN, [0_u8; 0]])?,
    };
    while let Some(row) = rows.next()? {
        if !events.is_empty() && !room.is_left() {
            return Ok((events, Some(rest)));
        }
        let event = event::read(row)?;
        room.take(&event);
        rest.after = Some(event.key());
        events.push(event);
    }
    Ok((events, None))
}

/// See [`headerless_traces`](reflow_tracing_storage::StorageBackend::headerless_traces).
pub(super) fn headerless(
    connection: &Connection,
    after: Option<TraceId>,
    limit: usize,
) -> rusqlite::Result<Vec<TraceId>> {
    let after = after.as_ref().map_or(&[][..], |after| after.0.as_bytes());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(include_str!("sql/headerless.sql"))?;
    statement.query_map(params![after, limit], |row| super::column::id(row, 0).map(TraceId))?.collect()
}
