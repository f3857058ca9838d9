//! A [`TraceQuery`] as SQL over the tables of `sql/schema.sql`.

use reflow_tracing_model::{SortOrder, TraceQuery, Window, clamped_nanos, time};
use reflow_tracing_storage::StorageError;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};
use uuid::Uuid;

use super::escape::escape;
use super::header::{COLUMNS, tags_json};
use super::partition;

enum Value {
    Text(String),
    Texts(Vec<&'static str>),
    Number(i64),
    Id(Uuid),
}

/// A `WHERE` clause and what its placeholders stand for.
pub(super) struct Select {
    conditions: Vec<String>,
    values: Vec<Value>,
    order: SortOrder,
}

impl Select {
    /// The traces that match, whatever the window.
    pub(super) fn new(query: &TraceQuery) -> Result<Self, StorageError> {
        let mut select =
            Self { conditions: vec!["start_time IS NOT NULL".into()], values: Vec::new(), order: query.order };
        if let Some(flow) = &query.flow_id {
            select.and("flow_id = $", Value::Text(escape(&flow.0).into()));
        }
        if let Some(execution) = query.execution_id {
            select.and("execution_id = $", Value::Id(execution.0));
        }
        if let Some((from, to)) = query.time_range {
            select.and("start_time >= $", Value::Number(time::nanos(from)));
            select.and("start_time <= $", Value::Number(time::nanos(to)));
        }
        if let Some(status) = &query.status {
            select.and("status = $", Value::Text(status.name().into()));
            if let Some(error) = status.error().filter(|error| !error.is_empty()) {
                select.and("error = $", Value::Text(escape(error).into()));
            }
        }
        if let Some(part) = &query.actor_filter {
            select.and(&has_event("position($ in event.actor) > 0"), Value::Text(escape(part).into()));
        }
        if let Some(kinds) = &query.event_types {
            let kinds = kinds.iter().map(|kind| kind.name()).collect();
            select.and(&has_event("event.kind = ANY($)"), Value::Texts(kinds));
        }
        if !query.tags.is_empty() {
            select.and("tags @> $::jsonb", Value::Text(tags_json(&query.tags)?));
        }
        if let Some(min) = query.min_duration {
            select.and("duration >= $", Value::Number(clamped_nanos(min)));
        }
        if let Some(max) = query.max_duration {
            select.and("duration <= $", Value::Number(clamped_nanos(max)));
        }
        if let Some(wanted) = query.has_error {
            let not = if wanted { "" } else { "NOT " };
            let failed = has_event("(event.kind = 'ActorFailed' OR event.error IS NOT NULL)");
            select.conditions.push(format!("{not}(status = 'Failed' OR {failed})"));
        }
        Ok(select)
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

    /// The traces in `window`, and one more, which tells whether there are more.
    pub(super) fn page(mut self, window: Window) -> Statement {
        if let Some(after) = window.after {
            // The first condition is what an index can seek to; the second leaves out those that start at the same time.
            let (reach, beyond) = match self.order {
                SortOrder::NewestFirst => ("<=", "<"),
                SortOrder::OldestFirst => (">=", ">"),
            };
            self.and(&format!("start_time {reach} $"), Value::Number(after.start_time));
            let start = self.values.len();
            self.values.push(Value::Id(after.trace_id.0));
            self.conditions.push(format!("(start_time {beyond} ${start} OR trace_id > ${})", start + 1));
        }
        let direction = match self.order {
            SortOrder::NewestFirst => "DESC",
            SortOrder::OldestFirst => "ASC",
        };
        let limit = window.limit.saturating_add(1);
        let sql = format!(
            "SELECT {COLUMNS} FROM trace WHERE {} ORDER BY start_time {direction}, trace_id LIMIT {limit} OFFSET {}",
            self.conditions.join(" AND "),
            i64::try_from(window.offset).unwrap_or(i64::MAX),
        );
        Statement { sql, values: self.values }
    }
}

/// The condition that a trace has an event for which `condition` holds. Written so that it is asked of one trace after
/// another, through the index: for `EXISTS` the server may read all events first.
fn has_event(condition: &str) -> String {
    format!(
        "(SELECT true FROM event WHERE event.trace = trace.seq AND event.placed_at = trace.placed_at AND {condition} \
         AND {} LIMIT 1) IS TRUE",
        partition::CATALOG_IN_USE
    )
}

/// A statement with its values.
pub(super) struct Statement {
    pub sql: String,
    values: Vec<Value>,
}

impl Statement {
    /// Planned for these very values: which index is best depends on them.
    pub(super) fn query(&self) -> Query<'static, Postgres, PgArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql.clone())).persistent(false);
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
