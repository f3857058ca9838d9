use std::collections::BTreeMap;

use super::{ExecutionId, TraceEventKind, TraceQuery, clamped_nanos, time};

/// One condition of a [`TraceQuery`], for backends that translate a query into another language such as SQL.
///
/// A backend that matches on it without a wildcard doesn't compile until it translates every condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Predicate<'a> {
    /// The trace is of this flow.
    Flow(&'a str),
    /// The trace has this execution id.
    Execution(ExecutionId),
    /// The trace started between these times, both included, in nanoseconds since 1970.
    StartedBetween(i64, i64),
    /// The status has this name.
    Status(&'static str),
    /// The status is a failure with this error.
    StatusError(&'a str),
    /// The metadata has all of these tags with these values; at least one.
    Tags(&'a BTreeMap<String, String>),
    /// The trace ended and took at least this many nanoseconds.
    MinDuration(i64),
    /// The trace ended and took at most this many nanoseconds.
    MaxDuration(i64),
    /// The trace has an event whose actor id contains this text.
    ActorContains(&'a str),
    /// The trace has an event of one of these kinds. If there are none, no trace matches.
    EventKinds(&'a [TraceEventKind]),
    /// Whether the trace failed or has an event that reports an error.
    HasError(bool),
}

impl TraceQuery {
    /// The conditions that must all hold. Those on the header come first, those on events after them.
    pub fn predicates(&self) -> Vec<Predicate<'_>> {
        let Self {
            flow_id,
            execution_id,
            time_range,
            status,
            actor_filter,
            limit: _,
            offset: _,
            event_types,
            tags,
            min_duration,
            max_duration,
            has_error,
            order: _,
            page_token: _,
        } = self;
        let between = |(from, to)| Predicate::StartedBetween(time::nanos(from), time::nanos(to));
        let error = status.as_ref().and_then(|status| status.error()).filter(|error| !error.is_empty());
        [
            flow_id.as_ref().map(|flow| Predicate::Flow(flow.as_str())),
            execution_id.map(Predicate::Execution),
            time_range.map(between),
            status.as_ref().map(|status| Predicate::Status(status.name())),
            error.map(Predicate::StatusError),
            (!tags.is_empty()).then_some(Predicate::Tags(tags)),
            min_duration.map(|min| Predicate::MinDuration(clamped_nanos(min))),
            max_duration.map(|max| Predicate::MaxDuration(clamped_nanos(max))),
            actor_filter.as_deref().map(Predicate::ActorContains),
            event_types.as_deref().map(Predicate::EventKinds),
            has_error.map(Predicate::HasError),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
