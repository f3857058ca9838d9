//! Where the rows of a trace are: its start, and from when to when its events happened.

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;
use uuid::Uuid;

use super::connection::Server;
use super::event::Id;
use super::literal;
use crate::model::TraceId;
use crate::storage::StorageError;

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

    /// What holds all of these times.
    pub(super) fn of(times: impl Iterator<Item = i64>) -> Self {
        times.fold(Self::EMPTY, |span, at| span.union(Self { from: at, to: at }))
    }

    fn union(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// The condition that `column` is within.
    pub(super) fn contains(self, column: &str) -> String {
        let [from, to] =
            [(">=", self.from), ("<=", self.to)].map(|(operator, at)| literal::compare(column, operator, at));
        format!("{from} AND {to}")
    }
}

/// Of one trace or several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    pub starts: Span,
    pub events: Span,
}

impl Spans {
    const EMPTY: Self = Self { starts: Span::EMPTY, events: Span::EMPTY };

    /// Of all of these traces together.
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

/// The spans of those of the traces that something is stored of.
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
    let found: Vec<Found> = server.rows(&sql).await?;
    let spans = found.into_iter().map(|found| {
        let trace_id = TraceId(Uuid::from_u64_pair(found.trace_id.0, found.trace_id.1));
        let starts = Span { from: found.starts_from, to: found.starts_to };
        let events = Span { from: found.events_from, to: found.events_to };
        (trace_id, Spans { starts, events })
    });
    Ok(spans.collect())
}
