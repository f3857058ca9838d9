//! Reads traces and events from the tables.

use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{column, event, header};

/// Selects the sequence number and the header of a trace by id.
pub(super) const GET_HEADER: &str = include_str!("sql/get_header.sql");

/// The events of a trace in order.
pub(super) fn events(connection: &Connection, sequence: i64) -> rusqlite::Result<Vec<TraceEvent>> {
    connection.prepare_cached(include_str!("sql/get_events.sql"))?.query_map([sequence], event::read)?.collect()
}

/// The trace in a row with its sequence number and its header.
pub(super) fn complete(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<FlowTrace> {
    Ok(FlowTrace { events: events(connection, row.get(0)?)?, ..header::read(row, 1)? })
}

/// The result of `sql` for the trace; `None` if there is no row.
pub(super) fn find<T>(
    connection: &Connection,
    sql: &str,
    trace_id: TraceId,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    connection.prepare_cached(sql)?.query_row([trace_id.0.as_bytes()], read).optional()
}

/// The sequence number of a trace, with or without a header; `None` if it is unknown.
pub(super) fn sequence_of(connection: &Connection, trace_id: TraceId) -> rusqlite::Result<Option<i64>> {
    find(connection, "SELECT seq FROM trace WHERE trace_id = ?1", trace_id, |row| row.get(0))
}

/// The ids of traces that have events but no header, ascending: at most `limit` ids after `after`.
pub(super) fn headerless(
    connection: &Connection,
    after: Option<TraceId>,
    limit: usize,
) -> rusqlite::Result<Vec<TraceId>> {
    let after = after.as_ref().map_or(&[][..], |after| after.0.as_bytes());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(include_str!("sql/headerless.sql"))?;
    statement.query_map(params![after, limit], |row| column::id(row, 0).map(TraceId))?.collect()
}
