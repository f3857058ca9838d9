//! Reads all traces of a file in the order of a query.

use std::collections::HashSet;

use reflow_tracing_model::{FlowTrace, Position, SortOrder, TraceId, TracePage, TraceQuery, Window, time};
use reflow_tracing_storage::streaming::BatchBudget;
use reflow_tracing_storage::{Detail, TracePart};
use rusqlite::{Connection, params};

use super::layout::{Layout, Traces};
use super::trace::{self, further_events};

pub(super) struct Walk<'a> {
    pub connection: &'a Connection,
    pub layout: &'a Layout,
    pub query: &'a TraceQuery,
    /// Whether to emit events. Conditions on events read them in any case.
    pub detail: Detail,
    /// Start right after this trace.
    pub after: Option<Position>,
}

type Emit<'a> = &'a mut dyn FnMut(TracePart) -> bool;

impl Walk<'_> {
    /// Emits the matching traces, regardless of the window, until the end or until `emit` returns false.
    pub(super) fn run(&self, emit: Emit<'_>) -> rusqlite::Result<()> {
        let (from, to) = self.seconds();
        let direction = match self.query.order {
            SortOrder::OldestFirst => "ASC",
            SortOrder::NewestFirst => "DESC",
        };
        // The column holds the second in which a trace started. Rows with another value are read or reported, too.
        let sql = format!(
            "SELECT rowid, start_time FROM traces \
             WHERE typeof(start_time) <> 'integer' OR start_time BETWEEN ?1 AND ?2 ORDER BY start_time {direction}"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(params![from, to])?;
        let (mut second, mut same) = (None, Vec::new());
        while let Some(row) = rows.next()? {
            let (number, start): (i64, rusqlite::types::Value) = (row.get(0)?, row.get(1)?);
            if second.as_ref() != Some(&start) {
                if !self.emit_second(&std::mem::take(&mut same), emit)? {
                    return Ok(());
                }
                second = Some(start);
            }
            same.push(number);
        }
        if self.emit_second(&same, emit)? && is_unfiltered(self.query) {
            self.emit_strays(emit)?;
        }
        Ok(())
    }

    /// The first and the last second in which a trace may have started.
    fn seconds(&self) -> (i64, i64) {
        let (mut from, mut to) =
            self.query.time_range.map_or((i64::MIN, i64::MAX), |(from, to)| (time::nanos(from), time::nanos(to)));
        match (self.after, self.query.order) {
            (Some(after), SortOrder::OldestFirst) => from = from.max(after.start_time),
            (Some(after), SortOrder::NewestFirst) => to = to.min(after.start_time),
            (None, _) => {}
        }
        (from.div_euclid(1_000_000_000), to.div_euclid(1_000_000_000))
    }

    /// A page of the matching traces, without a total.
    pub(super) fn page(&self, window: Window) -> rusqlite::Result<TracePage> {
        let mut page = TracePage::default();
        let (mut to_skip, mut is_skipped) = (window.offset, false);
        self.run(&mut |part| {
            match part {
                TracePart::Header(_) if to_skip > 0 => (to_skip, is_skipped) = (to_skip - 1, true),
                // Another page follows.
                TracePart::Header(_) if page.traces.len() == window.limit => {
                    page.next_page_token = page.traces.last().map(|last| Position::of(last).token());
                    return false;
                }
                TracePart::Header(header) => {
                    is_skipped = false;
                    page.traces.push(header);
                }
                TracePart::Events(_) if is_skipped => {}
                TracePart::Events(events) => {
                    if let Some(trace) = page.traces.last_mut() {
                        trace.events.extend(events);
                    }
                }
                TracePart::Unreadable(what) => tracing::warn!("left out: {what}"),
            }
            true
        })?;
        Ok(page)
    }

    /// Emits the traces in these rows, which started in the same second. Returns whether to continue.
    fn emit_second(&self, rows: &[i64], emit: Emit<'_>) -> rusqlite::Result<bool> {
        // The column does not say which of them started first.
        let mut places = Vec::with_capacity(rows.len());
        for number in rows {
            match trace::of_row(self.connection, self.layout, *number)? {
                Ok(trace) if rows.len() == 1 => return self.emit_trace(trace, emit),
                Ok(trace) => places.push((Position::of(&trace).sort_key(self.query.order), *number)),
                Err(what) => {
                    if !emit(TracePart::Unreadable(what)) {
                        return Ok(false);
                    }
                }
            }
        }
        places.sort_unstable();
        for (_, number) in places {
            if let Ok(trace) = trace::of_row(self.connection, self.layout, number)?
                && !self.emit_trace(trace, emit)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Emits a trace if it matches. Returns whether to continue.
    fn emit_trace(&self, mut trace: FlowTrace, emit: Emit<'_>) -> rusqlite::Result<bool> {
        let order = self.query.order;
        let is_before = self.after.is_some_and(|after| Position::of(&trace).sort_key(order) <= after.sort_key(order));
        if is_before || !self.query.matches_header(&trace) {
            return Ok(true);
        }
        let asks_for_events =
            self.query.actor_filter.is_some() || self.query.event_types.is_some() || self.query.has_error.is_some();
        if self.detail == Detail::Headers && !asks_for_events {
            return Ok(emit(TracePart::Header(FlowTrace { events: Vec::new(), ..trace })));
        }
        if self.layout.traces == Traces::Columns && !asks_for_events {
            return self.emit_from_rows(trace, emit);
        }
        let unreadable = trace::complete(self.connection, self.layout, &mut trace)?;
        let events = std::mem::take(&mut trace.events);
        if !self.query.matches_events(&trace, || events.iter()) {
            return Ok(true);
        }
        if !emit(TracePart::Header(trace)) || !unreadable.into_iter().all(|what| emit(TracePart::Unreadable(what))) {
            return Ok(false);
        }
        if self.detail == Detail::Headers {
            return Ok(true);
        }
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let piece = events.by_ref().take(PIECE).collect();
            if !emit(TracePart::Events(piece)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same for a trace whose events are emitted while their rows are read.
    fn emit_from_rows(&self, trace: FlowTrace, emit: Emit<'_>) -> rusqlite::Result<bool> {
        let trace_id = trace.trace_id;
        if !emit(TracePart::Header(trace)) {
            return Ok(false);
        }
        let (mut budget, mut piece, mut proceed) = (BatchBudget::default(), Vec::new(), true);
        further_events(self.connection, self.layout, trace_id, &HashSet::new(), &mut |event| {
            match event {
                Ok(event) => {
                    budget.take(&event);
                    piece.push(event);
                    if !budget.is_left() {
                        budget = BatchBudget::default();
                        proceed = emit(TracePart::Events(std::mem::take(&mut piece)));
                    }
                }
                Err(what) => proceed = emit(TracePart::Unreadable(what)),
            }
            proceed
        })?;
        if proceed && !piece.is_empty() {
            proceed = emit(TracePart::Events(piece));
        }
        Ok(proceed)
    }

    /// Reports the events whose trace id is not an id.
    fn emit_strays(&self, emit: Emit<'_>) -> rusqlite::Result<()> {
        let sql = "SELECT trace_id, count(*) FROM trace_events WHERE trace_id NOT IN (SELECT trace_id FROM traces) \
                   GROUP BY trace_id";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = row.get::<_, String>(0);
            if id.as_ref().is_ok_and(|id| id.parse::<TraceId>().is_ok()) {
                continue;
            }
            let what = format!("trace_events, {} rows of trace {id:?}, which is not an id", row.get::<_, i64>(1)?);
            if !emit(TracePart::Unreadable(what)) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Events of a trace that was read as a whole, in one part.
const PIECE: usize = 1_000;

/// Whether a query asks for every trace.
fn is_unfiltered(query: &TraceQuery) -> bool {
    *query == TraceQuery { order: query.order, ..TraceQuery::default() }
}

/// The number of matching traces, regardless of the window.
pub(super) fn count(connection: &Connection, layout: &Layout, query: &TraceQuery) -> rusqlite::Result<u64> {
    let query = TraceQuery { limit: None, offset: None, page_token: None, ..query.clone() };
    if is_unfiltered(&query) {
        return connection.query_row("SELECT count(*) FROM traces", [], |row| row.get(0));
    }
    let mut count = 0;
    Walk { connection, layout, query: &query, detail: Detail::Headers, after: None }.run(&mut |part| {
        count += u64::from(matches!(part, TracePart::Header(_)));
        true
    })?;
    Ok(count)
}

/// See [`headerless_traces`](reflow_tracing_storage::StorageExtras::headerless_traces). Ids have one spelling, whose order is theirs.
pub(super) fn headerless(
    connection: &Connection,
    after: Option<TraceId>,
    limit: usize,
) -> rusqlite::Result<Vec<TraceId>> {
    let sql = "SELECT DISTINCT trace_id FROM trace_events \
               WHERE trace_id > ?1 AND trace_id NOT IN (SELECT trace_id FROM traces) ORDER BY trace_id";
    let after = after.map_or(String::new(), |after| after.to_string());
    let mut statement = connection.prepare(sql)?;
    let ids = statement.query_map([after], |row| row.get::<_, String>(0))?;
    let ids = ids.filter_map(|id| id.map(|id| id.parse().ok()).transpose());
    ids.take(limit).collect()
}
