//! A [`TraceQuery`] as SQL over the tables of `sql/schema.sql`.

use chrono::DateTime;
use rusqlite::types::Value;

use super::header::COLUMNS;
use reflow_tracing_model::{Position, Predicate, SortOrder, TraceQuery, Window, time};
use reflow_tracing_storage::sql;

/// The query with its time range narrowed to the traces after `after`.
///
/// With two bounds on the same side, SQLite seeks to either one and scans the rows between them. Without this, every page
/// could scan all pages before it.
pub(super) fn narrowed(mut query: TraceQuery, after: Option<Position>) -> TraceQuery {
    if let (Some((from, to)), Some(Position { start_time, .. })) = (&mut query.time_range, after) {
        let start = DateTime::from_timestamp_nanos(start_time);
        match query.order {
            SortOrder::NewestFirst if start_time < time::nanos(*to) => *to = start,
            SortOrder::OldestFirst if start_time > time::nanos(*from) => *from = start,
            SortOrder::NewestFirst | SortOrder::OldestFirst => {}
        }
    }
    query
}

/// A `WHERE` clause and the values of its placeholders.
pub(super) struct Select {
    conditions: Vec<String>,
    pub parameters: Vec<Value>,
    order: SortOrder,
}

impl Select {
    /// The traces that match, regardless of the window.
    pub(super) fn new(query: &TraceQuery) -> Self {
        let conditions = vec!["start_time IS NOT NULL".into()];
        let mut select = Self { conditions, parameters: Vec::new(), order: query.order };
        for predicate in query.predicates() {
            select.and_predicate(predicate);
        }
        select
    }

    fn and_predicate(&mut self, predicate: Predicate<'_>) {
        match predicate {
            Predicate::Flow(flow) => self.and("flow_id = ?", [text(flow)]),
            Predicate::Execution(id) => self.and("execution_id = ?", [Value::Blob(id.0.into_bytes().to_vec())]),
            Predicate::StartedBetween(from, to) => {
                self.and("start_time BETWEEN ? AND ?", [Value::Integer(from), Value::Integer(to)]);
            }
            Predicate::Status(status) => self.and("status = ?", [text(status)]),
            Predicate::StatusError(error) => self.and("error = ?", [text(error)]),
            Predicate::Tags(tags) => {
                for (name, value) in tags {
                    let condition = "EXISTS (SELECT 1 FROM tag WHERE trace = seq AND name = ? AND value = ?)";
                    self.and(condition, [text(name), text(value)]);
                }
            }
            Predicate::MinDuration(min) => self.and("end_time - start_time >= ?", [Value::Integer(min)]),
            Predicate::MaxDuration(max) => self.and("end_time - start_time <= ?", [Value::Integer(max)]),
            Predicate::ActorContains(part) => {
                self.and("EXISTS (SELECT 1 FROM event WHERE trace = seq AND instr(actor, ?) > 0)", [text(part)]);
            }
            Predicate::EventKinds(kinds) => {
                let placeholders = vec!["?"; kinds.len()].join(", ");
                let condition = format!("EXISTS (SELECT 1 FROM event WHERE trace = seq AND kind IN ({placeholders}))");
                self.and(condition, kinds.iter().map(|kind| text(kind.name())));
            }
            Predicate::HasError(wanted) => {
                let not = if wanted { "" } else { "NOT " };
                let condition = format!(
                    "{not}(status = 'Failed' OR EXISTS \
                     (SELECT 1 FROM event e WHERE e.trace = seq AND (e.kind = 'ActorFailed' OR e.error IS NOT NULL)))"
                );
                self.and(condition, []);
            }
        }
    }

    fn and(&mut self, condition: impl Into<String>, parameters: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.into());
        self.parameters.extend(parameters);
    }

    pub(super) fn count(&self) -> String {
        format!("SELECT count(*) FROM trace WHERE {}", self.conditions.join(" AND "))
    }

    /// Selects the sequence numbers and headers of the traces in `window`, and of one more, which shows whether another page
    /// follows.
    pub(super) fn page(mut self, window: Window) -> (String, Vec<Value>) {
        if let Some(after) = window.after {
            // The index can seek to the first condition. The second skips traces with the same start that came before.
            let (reach, beyond) = (sql::reach(self.order), sql::beyond(self.order));
            let start = Value::Integer(after.start_time);
            let id = Value::Blob(after.trace_id.0.into_bytes().to_vec());
            self.and(
                format!("start_time {reach} ? AND (start_time {beyond} ? OR trace_id > ?)"),
                [start.clone(), start, id],
            );
        }
        let direction = sql::direction(self.order);
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
