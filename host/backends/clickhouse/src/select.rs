//! A [`TraceQuery`] as conditions on rows of `traces` and of `events`.

use reflow_tracing_model::{Position, Predicate, SortOrder, TraceQuery};
use reflow_tracing_storage::sql;

use super::literal;

/// The conditions of a query on a trace.
pub(super) struct Select {
    /// Conditions on the header.
    header: Vec<String>,
    /// Conditions on events. Each must hold for at least one event of the trace.
    pub events: Vec<String>,
    /// Whether the trace must have failed, by its status or an event, or must not have.
    pub has_error: Option<bool>,
    pub order: SortOrder,
}

/// The condition that an event reports an error.
pub(super) const IS_ERROR: &str = "event_type = 'ActorFailed' OR error IS NOT NULL";

impl Select {
    pub(super) fn new(query: &TraceQuery) -> Self {
        let mut select = Self { header: Vec::new(), events: Vec::new(), has_error: None, order: query.order };
        for predicate in query.predicates() {
            select.and(predicate);
        }
        select
    }

    fn and(&mut self, predicate: Predicate<'_>) {
        let Self { header, events, has_error, .. } = self;
        match predicate {
            Predicate::Flow(flow) => header.push(format!("flow_id = {}", literal::text(flow))),
            Predicate::Execution(id) => header.push(format!("execution_id = {}", literal::id(id.0))),
            Predicate::StartedBetween(from, to) => {
                header.push(literal::compare("start_time", ">=", from));
                header.push(literal::compare("start_time", "<=", to));
            }
            Predicate::Status(status) => header.push(format!("status = {}", literal::text(status))),
            Predicate::StatusError(error) => header.push(format!("error = {}", literal::text(error))),
            Predicate::Tags(tags) => header.extend(tags.iter().map(|(name, value)| {
                let (name, value) = (literal::text(name), literal::text(value));
                format!("has(mapValues(tags), {value}) AND mapContains(tags, {name}) AND tags[{name}] = {value}")
            })),
            Predicate::MinDuration(min) => header.push(format!("ifNull(duration_ns >= {min}, 0)")),
            Predicate::MaxDuration(max) => header.push(format!("ifNull(duration_ns <= {max}, 0)")),
            Predicate::ActorContains("") => events.push("1".into()),
            Predicate::ActorContains(part) => events.push(format!("position(actor_id, {}) > 0", literal::text(part))),
            Predicate::EventKinds([]) => events.push("0".into()),
            Predicate::EventKinds(kinds) => {
                let names: Vec<_> = kinds.iter().map(|kind| literal::text(kind.name())).collect();
                events.push(format!("event_type IN ({})", names.join(",")));
            }
            Predicate::HasError(wanted) => *has_error = Some(wanted),
        }
    }

    /// Whether all conditions are on the header.
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

    /// Selects the matching headers in order, after a position. Of headers of one trace with one start, the latest comes first.
    pub(super) fn headers(&self, table: &str, after: Option<Position>, limit: usize) -> String {
        let mut conditions = self.header.clone();
        if let Some(after) = after {
            // The table is sorted by the column of the first condition. The second skips traces with the same start that came
            // before.
            let (reach, beyond) = (sql::reach(self.order), sql::beyond(self.order));
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
        let direction = sql::direction(self.order);
        format!(
            "SELECT {} FROM {table} {filter} ORDER BY start_time {direction}, UUIDToNum(trace_id), stored_at DESC LIMIT {limit}",
            super::header::COLUMNS
        )
    }
}
