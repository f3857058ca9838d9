//! Finds the rows of a trace: the time ranges of its start and of its events.

use std::collections::HashMap;

use clickhouse::Row;
use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use serde::Deserialize;

use super::connection::Server;
use super::event::{Id, uuid};
use super::literal;

/// Bounds in nanoseconds since 1970, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    from: i64,
    to: i64,
}

impl Span {
    const EMPTY: Self = Self { from: i64::MAX, to: i64::MIN };

    pub(super) fn is_empty(self) -> bool {
        self.from > self.to
    }

    /// The smallest span that contains all of these times.
    pub(super) fn of(times: impl Iterator<Item = i64>) -> Self {
        times.fold(Self::EMPTY, |span, at| span.union(Self { from: at, to: at }))
    }

    fn union(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// The condition that `column` is within the span.
    pub(super) fn contains(self, column: &str) -> String {
        let [from, to] =
            [(">=", self.from), ("<=", self.to)].map(|(operator, at)| literal::compare(column, operator, at));
        format!("{from} AND {to}")
    }
}

/// The spans of one or several traces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    pub starts: Span,
    pub events: Span,
}

impl Spans {
    const EMPTY: Self = Self { starts: Span::EMPTY, events: Span::EMPTY };

    /// The union of the spans of several traces.
    pub(super) fn of<'a>(spans: impl IntoIterator<Item = &'a Self>) -> Self {
        spans.into_iter().fold(Self::EMPTY, |all, spans| Self {
            starts: all.starts.union(spans.starts),
            events: all.events.union(spans.events),
        })
    }
}

#[derive(Row, Deserialize)]
struct Found {
    trace_id: Id,
    starts_from: i64,
    starts_to: i64,
    events_from: i64,
    events_to: i64,
}

impl Found {
    fn spans(&self) -> (TraceId, Spans) {
        let starts = Span { from: self.starts_from, to: self.starts_to };
        let events = Span { from: self.events_from, to: self.events_to };
        (TraceId(uuid(self.trace_id)), Spans { starts, events })
    }
}

/// The spans of the traces that are stored at least in part.
pub(super) async fn spans(
    server: &Server,
    trace_ids: impl IntoIterator<Item = TraceId>,
) -> Result<HashMap<TraceId, Spans>, StorageError> {
    let sql = format!(
        "SELECT trace_id, min(starts_from), max(starts_to), min(events_from), max(events_to) FROM {} \
         WHERE trace_id IN {} GROUP BY trace_id",
        server.tables.lookup,
        literal::ids(trace_ids)
    );
    Ok(server.rows::<Found>(&sql).await?.iter().map(Found::spans).collect())
}

/// The ids of traces that have events but no header, ascending: at most `limit` ids after `after`.
pub(super) async fn headerless(
    server: &Server,
    mut after: Option<TraceId>,
    limit: usize,
) -> Result<Vec<TraceId>, StorageError> {
    let mut headerless = Vec::new();
    while headerless.len() < limit {
        let chunk = (limit - headerless.len()).min(server.ids_at_once);
        let beyond = after.map_or_else(String::new, |after| {
            format!("WHERE UUIDToNum(trace_id) > UUIDToNum({})", literal::id(after.0))
        });
        let candidates = format!(
            "SELECT trace_id, min(starts_from) AS first_start, max(starts_to) AS last_start, min(events_from) AS first_event, \
             max(events_to) AS last_event FROM {} {beyond} GROUP BY trace_id \
             HAVING first_start > last_start AND first_event <= last_event ORDER BY UUIDToNum(trace_id) LIMIT {chunk}",
            server.tables.lookup
        );
        let candidates: HashMap<_, _> = server.rows::<Found>(&candidates).await?.iter().map(Found::spans).collect();
        let Some(last) = candidates.keys().max() else { break };
        after = Some(*last);
        // Expired events may be removed before the lookup entry of their trace.
        let still_there = format!(
            "SELECT DISTINCT trace_id FROM {} WHERE {} AND trace_id IN {}",
            server.tables.events,
            Spans::of(candidates.values()).events.contains("timestamp"),
            literal::ids(candidates.keys().copied())
        );
        let mut found: Vec<_> =
            server.rows::<Id>(&still_there).await?.into_iter().map(|id| TraceId(uuid(id))).collect();
        found.sort_unstable();
        headerless.append(&mut found);
        if candidates.len() < chunk {
            break;
        }
    }
    Ok(headerless)
}
