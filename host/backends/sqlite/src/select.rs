//! A [`TraceQuery`] as SQL over the tables of `sql/schema.sql`.

use chrono::DateTime;
use rusqlite::types::Value;

use super::header::COLUMNS;
use reflow_tracing_model::{Position, SortOrder, TraceQuery, Window, clamped_nanos, time};

/// The query with its time range narrowed to what is left after `after`.
///
/// Of two bounds on the same side SQLite seeks to one, not always the narrower, and steps over what lies between them:
/// every page would read all that come before it.
pub(super) fn narrowed(mut query: TraceQuery, after: Option<Position>) -> TraceQuery {
    if let (Some((from, to)), Some(Position { start_time, .. })) = (&mut query.time_range, after) {
        let place = DateTime::from_timestamp_nanos(start_time);
        match query.order {
            SortOrder::NewestFirst if start_time < time::nanos(*to) => *to = place,
            SortOrder::OldestFirst if start_time > time::nanos(*from) => *from = place,
            SortOrder::NewestFirst | SortOrder::OldestFirst => {}
        }
    }
    query
}

/// A `WHERE` clause and what its placeholders stand for.
pub(super) struct Select {
    conditions: Vec<String>,
    pub parameters: Vec<Value>,
    order: SortOrder,
}

impl Select {
    /// The traces that match, whatever the window.
    pub(super) fn new(query: &TraceQuery) -> Self {
        let mut select =
            Self { conditions: vec!["start_time IS NOT NULL".into()], parameters: Vec::new(), order: query.order };
        if let Some(flow) = &query.flow_id {
            select.and("flow_id = ?", [text(&flow.0)]);
        }
        if let Some(execution) = query.execution_id {
            select.and("execution_id = ?", [Value::Blob(execution.0.into_bytes().to_vec())]);
        }
        if let Some((from, to)) = query.time_range {
            let bounds = [from, to].map(|bound| Value::Integer(time::nanos(bound)));
            select.and("start_time BETWEEN ? AND ?", bounds);
        }
        if let Some(status) = &query.status {
            select.and("status = ?", [text(status.name())]);
            if let Some(error) = status.error().filter(|error| !error.is_empty()) {
                select.and("error = ?", [text(error)]);
            }
        }
        if let Some(part) = &query.actor_filter {
            select.and("EXISTS (SELECT 1 FROM event WHERE trace = seq AND instr(actor, ?) > 0)", [text(part)]);
        }
        if let Some(kinds) = &query.event_types {
            let placeholders = vec!["?"; kinds.len()].join(", ");
            let kinds = kinds.iter().map(|kind| text(kind.name()));
            let condition = format!("EXISTS (SELECT 1 FROM event WHERE trace = seq AND kind IN ({placeholders}))");
            select.and(condition, kinds);
        }
        for (name, value) in &query.tags {
            let condition = "EXISTS (SELECT 1 FROM tag WHERE trace = seq AND name = ? AND value = ?)";
            select.and(condition, [text(name), text(value)]);
        }
        if let Some(min) = query.min_duration {
            select.and("end_time - start_time >= ?", [Value::Integer(clamped_nanos(min))]);
        }
        if let Some(max) = query.max_duration {
            select.and("end_time - start_time <= ?", [Value::Integer(clamped_nanos(max))]);
        }
        if let Some(wanted) = query.has_error {
            let not = if wanted { "" } else { "NOT " };
            select.and(
                format!(
                    "{not}(status = 'Failed' OR EXISTS \
                     (SELECT 1 FROM event e WHERE e.trace = seq AND (e.kind = 'ActorFailed' OR e.error IS NOT NULL)))"
                ),
                [],
            );
        }
        select
    }

    fn and(&mut self, condition: impl Into<String>, parameters: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.into());
        self.parameters.extend(parameters);
    }

    pub(super) fn count(&self) -> String {
        format!("SELECT count(*) FROM trace WHERE {}", self.conditions.join(" AND "))
    }

    /// The sequence numbers and headers of the traces in `window`, and of one more, which tells whether there are more.
    pub(super) fn page(mut self, window: Window) -> (String, Vec<Value>) {
        if let Some(after) = window.after {
            // The first half is what the index can seek to; the second leaves out those that start at the same time.
            let (reach, beyond) = match self.order {
                SortOrder::NewestFirst => ("<=", "<"),
                SortOrder::OldestFirst => (">=", ">"),
            };
            let start = Value::Integer(after.start_time);
            let id = Value::Blob(after.trace_id.0.into_bytes().to_vec());
            self.and(
                format!("start_time {reach} ? AND (start_time {beyond} ? OR trace_id > ?)"),
                [start.clone(), start, id],
            );
        }
        let direction = match self.order {
            SortOrder::NewestFirst => "DESC",
            SortOrder::OldestFirst => "ASC",
        };
        let sql = format!(
            "SELECT seq, {COLUMNS} FROM trace WHERE {} ORDER BY start_time {direction}, trace_id LIMIT ? OFFSET ?",
            self.conditions.join(" AND ")
        );
        let number = |number: usize| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        self.parameters.extend([number(window.limit.saturating_add(1)), number(window.offset)]);
        (sql, self.parameters)
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
