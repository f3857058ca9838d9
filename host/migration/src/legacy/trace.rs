//! A row of `traces`, and the events that belong to it.

use std::collections::HashSet;

use chrono::TimeDelta;
use reflow_tracing_model::{ExecutionId, FlowId, FlowTrace, FlowVersion, More, TraceEvent, TraceId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::event::{self, json, json_blob, seconds, text};
use super::layout::{Events, Layout, Traces};

/// What [`read`] reads, in its order.
pub(super) fn columns(layout: Traces) -> &'static str {
    match layout {
        Traces::Whole => "rowid, trace_id, data",
        Traces::Columns => {
            "rowid, trace_id, flow_id, execution_id, version_major, version_minor, version_patch, version_git_hash, \
             version_timestamp, start_time, end_time, status, metadata"
        }
    }
}

/// A trace, with the events that its own row holds; or what is wrong with the row.
pub(super) fn read(row: &Row<'_>, layout: Traces) -> rusqlite::Result<Result<FlowTrace, String>> {
    let number: i64 = row.get(0)?;
    let trace = match layout {
        Traces::Whole => of_blob(row),
        Traces::Columns => of_columns(row),
    };
    let trace = trace.and_then(|trace| match trace.validate() {
        Ok(()) => Ok(trace),
        Err(error) => Err(error.to_string()),
    });
    Ok(trace.map_err(|problem| {
        let id = text(row, 1, "trace_id").unwrap_or_default();
        format!("traces, row {number} (trace {id}), with its events: {problem}")
    }))
}

fn id_of(row: &Row<'_>) -> Result<TraceId, String> {
    text(row, 1, "trace_id")?.parse().map_err(|error| format!("trace_id: {error}"))
}

fn of_blob(row: &Row<'_>) -> Result<FlowTrace, String> {
    let mut trace: FlowTrace = json_blob(row, 2, "data")?;
    let trace_id = id_of(row)?;
    if trace.trace_id != trace_id {
        return Err(format!("data is of trace {}", trace.trace_id));
    }
    // Stored twice, it is there twice.
    trace.events.sort_by_key(TraceEvent::key);
    trace.events.dedup_by_key(|event| event.key());
    Ok(trace)
}

fn of_columns(row: &Row<'_>) -> Result<FlowTrace, String> {
    let number = |column, name: &str| row.get::<_, u32>(column).map_err(|error| format!("{name}: {error}"));
    Ok(FlowTrace {
        trace_id: id_of(row)?,
        flow_id: FlowId(text(row, 2, "flow_id")?),
        execution_id: ExecutionId(
            text(row, 3, "execution_id")?.parse().map_err(|error| format!("execution_id: {error}"))?,
        ),
        version: FlowVersion {
            major: number(4, "version_major")?,
            minor: number(5, "version_minor")?,
            patch: number(6, "version_patch")?,
            git_hash: row.get(7).map_err(|error| format!("version_git_hash: {error}"))?,
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
    let Some(mut trace) = row_of(connection, layout, trace_id)? else { return Ok(None) };
    if let Ok(found) = &mut trace {
        let mut unreadable = None;
        let mut events = std::mem::take(&mut found.events);
        let known = events.iter().map(|event| event.event_id.0).collect();
        further_events(connection, layout, trace_id, &known, &mut |event| {
            match event {
                Ok(event) => events.push(event),
                Err(what) => unreadable = Some(what),
            }
            true
        })?;
        events.sort_by_key(TraceEvent::key);
        found.events = events;
        if let Some(what) = unreadable {
            trace = Err(what);
        }
    }
    Ok(Some(trace))
}

fn row_of(
    connection: &Connection,
    layout: &Layout,
    trace_id: TraceId,
) -> rusqlite::Result<Option<Result<FlowTrace, String>>> {
    let sql = format!("SELECT {} FROM traces WHERE trace_id = ?1", columns(layout.traces));
    connection.prepare_cached(&sql)?.query_row([trace_id.to_string()], |row| read(row, layout.traces)).optional()
}

/// The events of a trace, whether it has a row in `traces` or not, in order.
pub(super) fn events_of(
    connection: &Connection,
    layout: &Layout,
    trace_id: TraceId,
    emit: &mut dyn FnMut(Result<TraceEvent, String>) -> bool,
) -> rusqlite::Result<()> {
    if layout.traces == Traces::Whole {
        match find(connection, layout, trace_id)? {
            Some(Ok(trace)) => {
                let _ = trace.events.into_iter().all(|event| emit(Ok(event)));
                return Ok(());
            }
            Some(Err(what)) => {
                emit(Err(what));
                return Ok(());
            }
            None => {}
        }
    }
    further_events(connection, layout, trace_id, &HashSet::new(), emit)
}

/// The events of a trace that have a row in `trace_events`, in order, but for those that are known.
///
/// An event that was stored twice has two rows; the first counts. Where times are whole seconds, the order of the rows is all
/// that tells which event of a second came first, and nanoseconds keep it.
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
