//! A [`TraceQuery`] as conditions on rows of `traces` and of `events`.

use reflow_tracing_model::{Position, SortOrder, TraceQuery, clamped_nanos, time};

use super::literal;

/// What a query asks of a trace.
pub(super) struct Select {
    /// Of its header.
    header: Vec<String>,
    /// Of its events: for each of these there must be one for which it holds.
    pub events: Vec<String>,
    /// Whether it must have failed, or must not have: by its status, or an event.
    pub has_error: Option<bool>,
    pub order: SortOrder,
}

/// Holds for an event that reports an error.
pub(super) const IS_ERROR: &str = "event_type = 'ActorFailed' OR error IS NOT NULL";

impl Select {
    pub(super) fn new(query: &TraceQuery) -> Self {
        let mut header = Vec::new();
        if let Some(flow) = &query.flow_id {
            header.push(format!("flow_id = {}", literal::text(&flow.0)));
        }
        if let Some(execution) = query.execution_id {
            header.push(format!("execution_id = {}", literal::id(execution.0)));
        }
        if let Some((from, to)) = query.time_range {
            header.push(literal::compare("start_time", ">=", time::nanos(from)));
            header.push(literal::compare("start_time", "<=", time::nanos(to)));
        }
        if let Some(status) = &query.status {
            header.push(format!("status = '{}'", status.name()));
            if let Some(error) = status.error().filter(|error| !error.is_empty()) {
                header.push(format!("error = {}", literal::text(error)));
            }
        }
        for (name, value) in &query.tags {
            let (name, value) = (literal::text(name), literal::text(value));
            header.push(format!(
                "has(mapValues(tags), {value}) AND mapContains(tags, {name}) AND tags[{name}] = {value}"
            ));
        }
        if let Some(min) = query.min_duration {
            header.push(format!("ifNull(duration_ns >= {}, 0)", clamped_nanos(min)));
        }
        if let Some(max) = query.max_duration {
            header.push(format!("ifNull(duration_ns <= {}, 0)", clamped_nanos(max)));
        }
        let mut events = Vec::new();
        if let Some(part) = &query.actor_filter {
            events.push(match part.as_str() {
                "" => "1".into(),
                part => format!("position(actor_id, {}) > 0", literal::text(part)),
            });
        }
        if let Some(kinds) = &query.event_types {
            let names: Vec<_> = kinds.iter().map(|kind| format!("'{}'", kind.name())).collect();
            events.push(match names.as_slice() {
                [] => "0".into(),
                names => format!("event_type IN ({})", names.join(",")),
            });
        }
        Self { header, events, has_error: query.has_error, order: query.order }
    }

    /// Whether headers alone decide.
    pub(super) fn is_of_headers(&self) -> bool {
        self.events.is_empty() && self.has_error.is_none()
    }

    /// The condition on a header.
    pub(super) fn header(&self) -> String {
        match self.header.as_slice() {
            [] => "1".into(),
            conditions => conditions.join(" AND "),
        }
    }

    /// The headers that match, in order, after a place; of one trace and start the latest first.
    pub(super) fn headers(&self, table: &str, after: Option<Position>, limit: usize) -> String {
        let mut conditions = self.header.clone();
        if let Some(after) = after {
            // The first condition is what the table is sorted by.
            let (reach, beyond) = match self.order {
                SortOrder::NewestFirst => ("<=", "<"),
                SortOrder::OldestFirst => (">=", ">"),
            };
            conditions.push(literal::compare("start_time", reach, after.start_time));
            conditions.push(format!(
                "({} OR UUIDToNum(trace_id) > UUIDToNum({}))",
                literal::compare("start_time", beyond, after.start_time),
                literal::id(after.trace_id.0)
            ));
        }
        let filter = match conditions.as_slice() {
            [] => String::new(),
            conditions => format!("WHERE {}", conditions.join(" AND ")),
        };
        let direction = match self.order {
            SortOrder::NewestFirst => "DESC",
            SortOrder::OldestFirst => "ASC",
        };
        format!(
            "SELECT {} FROM {table} {filter} ORDER BY start_time {direction}, UUIDToNum(trace_id), stored_at DESC LIMIT {limit}",
            super::header::COLUMNS
        )
    }
}
