//! A query as SQL over the tables of `*/schema.sql`.

use reflow_tracing_plugin::sql::Value;
use reflow_tracing_plugin::{PageRequest, Result, Status, StorageError, TraceQuery};

use crate::dialect::Dialect;
use crate::token::Place;

pub struct Select {
    conditions: Vec<String>,
    parameters: Vec<Value>,
    ascending: bool,
}

impl Select {
    /// The traces that match and come after the page's token.
    pub fn new(dialect: &Dialect, mut query: TraceQuery, page: &PageRequest) -> Result<Self> {
        if let Some((name, _)) = query.more.first() {
            return Err(StorageError::Unsupported(format!("the predicate `{name}`")));
        }
        let after = page.token.as_deref().map(Place::parse).transpose()?;
        if let Some(Place { time, .. }) = after {
            // Narrows the existing bound: of two bounds on the same side, SQLite seeks to one, not always the narrower, and
            // then scans all earlier pages.
            if query.ascending {
                query.start_from = Some(query.start_from.map_or(time, |from| from.max(time)));
            } else {
                query.start_to = Some(query.start_to.map_or(time, |to| to.min(time)));
            }
        }
        let mut select = Self {
            conditions: vec!["start_time IS NOT NULL".into()],
            parameters: Vec::new(),
            ascending: query.ascending,
        };
        select.and_if("flow_id = ?", query.flow_id);
        select.and_if("execution_id = ?", query.execution_id);
        select.and_if("start_time >= ?", query.start_from);
        select.and_if("start_time <= ?", query.start_to);
        select.and_if("status = ?", query.status.map(Status::name));
        select.and_if("trace.error = ?", query.error);
        select.and_if(&some_event(dialect, dialect.actor_contains), query.actor);
        if let Some(kinds) = query.event_types {
            // Not every database accepts an empty list.
            let of_kinds =
                if kinds.is_empty() { "1 = 0".into() } else { format!("kind IN ({})", placeholders(kinds.len())) };
            select.and(some_event(dialect, &of_kinds), kinds.into_iter().map(Value::Text));
        }
        for (name, value) in query.tags {
            let condition = "EXISTS (SELECT 1 FROM tag WHERE tag.trace_id = trace.trace_id AND name = ? AND value = ?)";
            select.and(condition.into(), [name.into(), value.into()]);
        }
        let Dialect { duration, number, .. } = dialect;
        select.and_if(&format!("{duration} >= {number}"), query.min_duration);
        select.and_if(&format!("{duration} <= {number}"), query.max_duration);
        if let Some(wanted) = query.has_error {
            let not = if wanted { "" } else { "NOT " };
            let failed = some_event(dialect, "(kind = 'ActorFailed' OR event.error IS NOT NULL)");
            select.and(format!("{not}(status = 'Failed' OR {failed})"), []);
        }
        if let Some((time, id)) = after.map(Place::into_values) {
            let beyond = if select.ascending { ">" } else { "<" };
            select.and(format!("(start_time {beyond} ? OR trace_id > ?)"), [time, id]);
        }
        Ok(select)
    }

    fn and(&mut self, condition: String, parameters: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition);
        self.parameters.extend(parameters);
    }

    fn and_if(&mut self, condition: &str, parameter: Option<impl Into<Value>>) {
        if let Some(parameter) = parameter {
            self.and(condition.into(), [parameter.into()]);
        }
    }

    /// Selects start time, id and body of the traces on `page`, and of one more, which shows whether there is a next page.
    pub fn page(mut self, page: &PageRequest) -> (String, Vec<Value>) {
        let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
        self.parameters.extend([Value::Integer(i64::from(page.limit) + 1), Value::Integer(offset)]);
        let direction = if self.ascending { "ASC" } else { "DESC" };
        let statement = format!(
            "SELECT start_time, trace_id, body FROM trace WHERE {} \
             ORDER BY start_time {direction}, trace_id LIMIT ? OFFSET ?",
            self.conditions.join(" AND ")
        );
        (statement, self.parameters)
    }
}

fn some_event(dialect: &Dialect, condition: &str) -> String {
    format!("EXISTS (SELECT 1 FROM event WHERE {} AND {condition})", dialect.event_of_trace)
}

/// `count` placeholders for an `IN`.
pub fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}
