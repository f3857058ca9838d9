//! A [`TraceQuery`] as SQL over the tables of `sql/schema.sql`.

use reflow_tracing_model::{Predicate, SortOrder, TraceQuery, Window};
use reflow_tracing_storage::{StorageError, sql};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};
use uuid::Uuid;

use super::catalog::CATALOG_IN_USE;
use super::escape::escape;
use super::header::{COLUMNS, tags_json};
use super::layout::Layout;

enum Value {
    Text(String),
    Texts(Vec<&'static str>),
    Number(i64),
    Id(Uuid),
}

/// A `WHERE` clause and the values of its placeholders.
pub(super) struct Select {
    conditions: Vec<String>,
    values: Vec<Value>,
    order: SortOrder,
}

impl Select {
    /// The traces that match, regardless of the window.
    pub(super) fn new(query: &TraceQuery) -> Result<Self, StorageError> {
        let conditions = vec!["start_time IS NOT NULL".into()];
        let mut select = Self { conditions, values: Vec::new(), order: query.order };
        for predicate in query.predicates() {
            select.and_predicate(predicate)?;
        }
        Ok(select)
    }

    fn and_predicate(&mut self, predicate: Predicate<'_>) -> Result<(), StorageError> {
        let text = |text| Value::Text(escape(text).into());
        match predicate {
            Predicate::Flow(flow) => self.and("flow_id = $", text(flow)),
            Predicate::Execution(id) => self.and("execution_id = $", Value::Id(id.0)),
            Predicate::StartedBetween(from, to) => {
                self.and("start_time >= $", Value::Number(from));
                self.and("start_time <= $", Value::Number(to));
            }
            Predicate::Status(status) => self.and("status = $", text(status)),
            Predicate::StatusError(error) => self.and("error = $", text(error)),
            Predicate::Tags(tags) => self.and("tags @> $::jsonb", Value::Text(tags_json(tags)?)),
            Predicate::MinDuration(min) => self.and("duration >= $", Value::Number(min)),
            Predicate::MaxDuration(max) => self.and("duration <= $", Value::Number(max)),
            Predicate::ActorContains(part) => self.and(&has_event("position($ in event.actor) > 0"), text(part)),
            Predicate::EventKinds(kinds) => {
                let kinds = kinds.iter().map(|kind| kind.name()).collect();
                self.and(&has_event("event.kind = ANY($)"), Value::Texts(kinds));
            }
            Predicate::HasError(wanted) => {
                let not = if wanted { "" } else { "NOT " };
                let failed = has_event("(event.kind = 'ActorFailed' OR event.error IS NOT NULL)");
                self.conditions.push(format!("{not}(status = 'Failed' OR {failed})"));
            }
        }
        Ok(())
    }

    /// Adds a condition, in which `$` stands for `value`.
    fn and(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        let placeholder = format!("${}", self.values.len());
        self.conditions.push(condition.replace('$', &placeholder));
    }

    pub(super) fn count(self) -> Statement {
        let sql = format!("SELECT count(*) FROM trace WHERE {}", self.conditions.join(" AND "));
        Statement { sql, values: self.values }
    }

    /// Selects the traces in `window`, and one more, which shows whether another page follows.
    pub(super) fn page(mut self, window: Window) -> Statement {
        if let Some(after) = window.after {
            // An index can seek to the first condition. The second skips traces with the same start that came before.
            let (reach, beyond) = (sql::reach(self.order), sql::beyond(self.order));
            self.and(&format!("start_time {reach} $"), Value::Number(after.start_time));
            let start = self.values.len();
            self.values.push(Value::Id(after.trace_id.0));
            self.conditions.push(format!("(start_time {beyond} ${start} OR trace_id > ${})", start + 1));
        }
        let direction = sql::direction(self.order);
        let limit = window.limit.saturating_add(1);
        let sql = format!(
            "SELECT {COLUMNS} FROM trace WHERE {} ORDER BY start_time {direction}, trace_id LIMIT {limit} OFFSET {}",
            self.conditions.join(" AND "),
            i64::try_from(window.offset).unwrap_or(i64::MAX),
        );
        Statement { sql, values: self.values }
    }
}

/// The condition that a trace has an event for which `condition` holds. The server evaluates it trace by trace, with the
/// index. With `EXISTS`, the server may read all events first.
fn has_event(condition: &str) -> String {
    format!(
        "(SELECT true FROM event WHERE event.trace = trace.seq AND event.placed_at = trace.placed_at AND {condition} \
         AND {} LIMIT 1) IS TRUE",
        CATALOG_IN_USE
    )
}

/// A statement with its values.
pub(super) struct Statement {
    pub sql: String,
    values: Vec<Value>,
}

impl Statement {
    /// Not prepared, so that the server plans it for these values: the best index depends on them.
    pub(super) fn query(&self, layout: Layout) -> Query<'static, Postgres, PgArguments> {
        let mut query = sqlx::query(layout.select(AssertSqlSafe(self.sql.clone()))).persistent(false);
        for value in &self.values {
            query = match value {
                Value::Text(text) => query.bind(text.clone()),
                Value::Texts(texts) => query.bind(texts.clone()),
                Value::Number(number) => query.bind(*number),
                Value::Id(id) => query.bind(*id),
            };
        }
        query
    }
}
