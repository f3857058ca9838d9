//! A row of `traces`, and the events that belong to it.

use std::collections::HashSet;

use chrono::TimeDelta;
use reflow_tracing_model::{ExecutionId, FlowId, FlowTrace, FlowVersion, More, TraceEvent, TraceId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::event::{self, compressed_json, json, parsed, seconds, text, value};
use super::layout::{Events, Layout, Traces};

/// The columns that [`read`] expects.
pub(super) fn columns(layout: Traces) -> &'static str {
    match layout {
        Traces::Whole => "rowid, trace_id, data",
        Traces::Columns => {
            "rowid, trace_id, flow_id, execution_id, version_major, version_minor, version_patch, version_git_hash, \
             version_timestamp, start_time, end_time, status, metadata"
        }
    }
}

/// A trace with the events in its own row, or the problem with the row.
pub(super) fn read(row: &Row<'_>, layout: Traces) -> rusqlite::Result<Result<FlowTrace, String>> {
    let number: i64 = row.get(0)?;
    let trace = match layout {
        Traces::Whole => from_whole(row),
        Traces::Columns => from_columns(row),
    };
    let valid = trace.and_then(|trace| trace.validate().map(|()| trace).map_err(|error| error.to_string()));
    Ok(valid.map_err(|problem| {
        let id = text(row, 1, "trace_id").unwrap_or_default();
        format!("traces, row {number} (trace {id}), with its events: {problem}")
    }))
}

fn from_whole(row: &Row<'_>) -> Result<FlowTrace, String> {
    let mut trace: FlowTrace = compressed_json(row, 2, "data")?;
    let trace_id = parsed(row, 1, "trace_id")?;
    if trace.trace_id != trace_id {
        return Err(format!("data is of trace {}", trace.trace_id));
    }
    // An event that was stored twice is in the list twice.
    trace.events.sort_by_key(TraceEvent::key);
    trace.events.dedup_by_key(|event| event.key());
    Ok(trace)
}

fn from_columns(row: &Row<'_>) -> Result<FlowTrace, String> {
    Ok(FlowTrace {
        trace_id: parsed(row, 1, "trace_id")?,
        flow_id: FlowId(text(row, 2, "flow_id")?),
        execution_id: parsed(row, 3, "execution_id").map(ExecutionId)?,
        version: FlowVersion {
            major: value(row, 4, "version_major")?,
            minor: value(row, 5, "version_minor")?,
            patch: value(row, 6, "version_patch")?,
            git_hash: value(row, 7, "version_git_hash")?,
            timestamp: seconds(row, 8, "version_timestamp")?.ok_or("version_timestamp is missing")?,
            more: More::EMPTY,
        },
        start_time: seconds(row, 9, "start_time")?.ok_or("start_time is missing")?,
        end_time: seconds(row, 10, "end_time")?,
        status: json(row, 11, "status")?,
        events: Vec::new(),
        metadata: json(row, 12, "metadata")?,
        more: More::EMPTY,
    })
}

/// The trace in the row with this number.
pub(super) fn of_row(
    connection: &Connection,
    layout: &Layout,
    number: i64,
) -> rusqlite::Result<Result<FlowTrace, String>> {
    let sql = format!("SELECT {} FROM traces WHERE rowid = ?1", columns(layout.traces));
    connection.prepare_cached(&sql)?.query_row([number], |row| read(row, layout.traces))
}

/// The trace of this id, with all of its events.
pub(super) fn find(
    connection: &Connection,
    layout: &Layout,
    trace_id: TraceId,
) -> rusqlite::Result<Option<Result<FlowTrace, String>>> {
    let mut trace = match row_of(connection, layout, trace_id)? {
        Some(Ok(trace)) => trace,
        other => return Ok(other),
    };
    let mut unreadable = complete(connection, layout, &mut trace)?;
    Ok(Some(unreadable.pop().map_or(Ok(trace), Err)))
}

/// Adds the events that have their own rows. Returns the problems with rows.
pub(super) fn complete(
    connection: &Connection,
    layout: &Layout,
    trace: &mut FlowTrace,
) -> rusqlite::Result<Vec<String>> {
    let mut unreadable = Vec::new();
    let known = trace.events.iter().map(|event| event.event_id.0).collect();
    further_events(connection, layout, trace.trace_id, &known, &mut |event| {
        match event {
            Ok(event) => trace.events.push(event),
            Err(problem) => unreadable.push(problem),
        }
        true
    })?;
    trace.events.sort_by_key(TraceEvent::key);
    Ok(unreadable)
}

fn row_of(
    connection: &Connection,
    layout: &Layout,
    trace_id: TraceId,
) -> rusqlite::Result<Option<Result<FlowTrace, String>>> {
    let sql = format!("SELECT {} FROM traces WHERE trace_id = ?1", columns(layout.traces));
    connection.prepare_cached(&sql)?.query_row([trace_id.to_string()], |row| read(row, layout.traces)).optional()
}

/// The events of a trace, with or without a row in `traces`, in order.
pub(super) fn events_of(
    connection: &Connection,
    layout: &Layout,
    trace_id: TraceId,
    emit: &mut dyn FnMut(Result<TraceEvent, String>) -> bool,
) -> rusqlite::Result<()> {
    if layout.traces == Traces::Whole
        && let Some(found) = find(connection, layout, trace_id)?
    {
        match found {
            Ok(trace) => trace.events.into_iter().all(|event| emit(Ok(event))),
            Err(problem) => emit(Err(problem)),
        };
        return Ok(());
    }
    further_events(connection, layout, trace_id, &HashSet::new(), emit)
}

/// The events of a trace in `trace_events`, in order, without the known ones.
///
/// Of an event that was stored twice, the first row counts. If times are whole seconds, only the order of the rows tells which
/// event of a second came first; nanoseconds preserve it.
pub(super) fn further_events(
    connection: &Connection,
    layout: &Layout,
    trace_id: TraceId,
    known: &HashSet<uuid::Uuid>,
    emit: &mut dyn FnMut(Result<TraceEvent, String>) -> bool,
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT {} FROM trace_events AS row \
         WHERE row.rowid IN (SELECT min(rowid) FROM trace_events WHERE trace_id = ?1 GROUP BY event_id, timestamp) \
         ORDER BY row.timestamp, row.rowid",
        event::columns(layout.events)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![trace_id.to_string()])?;
    let (mut second, mut nanos) = (None, 0);
    while let Some(row) = rows.next()? {
        let mut event = event::read(row, layout.events)?;
        if let Ok(event) = &mut event {
            if known.contains(&event.event_id.0) {
                continue;
            }
            if layout.events == Events::Columns {
                nanos = if second == Some(event.timestamp) { nanos + 1 } else { 0 };
                second = Some(event.timestamp);
                event.timestamp += TimeDelta::nanoseconds(nanos);
            }
        }
        if !emit(event) {
            return Ok(());
        }
    }
    Ok(())
}
