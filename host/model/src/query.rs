use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ExecutionId, ExecutionStatus, FlowId, FlowTrace, TraceEvent, TraceEventKind, TraceId, time};

/// Which traces are asked for. All predicates that are present must hold; the default asks for the newest 100 traces.
///
/// The fields up to `offset` are Reflow's; the others are left out of the JSON while they are not used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceQuery {
    /// Traces of this flow.
    pub flow_id: Option<FlowId>,
    /// The trace of this execution.
    pub execution_id: Option<ExecutionId>,
    /// Traces that started within these bounds, both included.
    pub time_range: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Traces that stand so. `Failed` with an empty error matches any failure, with another one that very error.
    pub status: Option<ExecutionStatus>,
    /// Traces with an event whose actor id contains this text, case-sensitively.
    pub actor_filter: Option<String>,
    /// At most so many traces: 100 when absent, at most 10,000.
    pub limit: Option<usize>,
    /// Leaves out the first so many of the answer: of the first page, where pages are asked for.
    pub offset: Option<usize>,

    /// Traces with an event of one of these kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<TraceEventKind>>,
    /// Traces whose metadata carries all of these tags with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Ended traces that took at least so long. In JSON: nanoseconds.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<Duration>,
    /// Ended traces that took at most so long. In JSON: nanoseconds.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// Traces that failed or have an event that tells of an error; with `false`, the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_error: Option<bool>,
    /// The order of the answer.
    #[serde(default, skip_serializing_if = "SortOrder::is_default")]
    pub order: SortOrder,
    /// Goes on where [`TracePage::next_page_token`] says that a page ended. Asked with the same predicates and order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// The order of traces. Traces that started at the same time come by ascending trace id in either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortOrder {
    /// The latest start first.
    #[default]
    NewestFirst,
    /// The earliest start first.
    OldestFirst,
}

impl SortOrder {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A part of an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TracePage {
    /// The traces, complete with their events.
    pub traces: Vec<FlowTrace>,
    /// Where to go on, for [`TraceQuery::page_token`]; `None` when this was the last page.
    pub next_page_token: Option<String>,
    /// How many traces match, whatever the query's window; `None` where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// How much of the matching traces is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The most traces.
    pub limit: usize,
    /// Traces that are left out at the start.
    pub offset: usize,
    /// The place where the page before this one ended.
    pub after: Option<Position>,
}

/// A place in the order of traces: right after this trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Nanoseconds since the epoch.
    pub start_time: i64,
    /// Tells apart traces that start at the same time.
    pub trace_id: TraceId,
}

impl Position {
    /// The place of a trace.
    pub fn of(trace: &FlowTrace) -> Self {
        Self { start_time: time::nanos(trace.start_time), trace_id: trace.trace_id }
    }

    /// Ascends in the order that was asked for.
    pub fn sort_key(self, order: SortOrder) -> (i128, TraceId) {
        let start = i128::from(self.start_time);
        (if order == SortOrder::NewestFirst { -start } else { start }, self.trace_id)
    }

    /// The place as a page token.
    pub fn token(self) -> String {
        format!("{}.{}", self.start_time, self.trace_id.0.simple())
    }

    fn parse(token: &str) -> Option<Self> {
        let (start_time, trace_id) = token.split_once('.')?;
        Some(Self { start_time: start_time.parse().ok()?, trace_id: TraceId(Uuid::try_parse(trace_id).ok()?) })
    }
}

impl TraceQuery {
    /// How many traces an answer holds when the query doesn't say.
    pub const DEFAULT_LIMIT: usize = 100;
    /// The most traces that one answer holds; further ones are reached by page token or offset.
    pub const MAX_LIMIT: usize = 10_000;

    /// Checks the query without asking it. The error says what is wrong and what would be right.
    pub fn validate(&self) -> Result<(), String> {
        if let Some((from, to)) = self.time_range
            && from > to
        {
            return Err(format!("time_range ends ({to}) before it starts ({from})"));
        }
        self.checked_limit().map(|_| ())
    }

    /// The limit or its default; the error says which limits there are.
    pub fn checked_limit(&self) -> Result<usize, String> {
        match self.limit {
            Some(limit) if limit > Self::MAX_LIMIT => {
                Err(format!("limit {limit} is over {}: ask for pages, with page_token or offset", Self::MAX_LIMIT))
            }
            limit => Ok(limit.unwrap_or(Self::DEFAULT_LIMIT)),
        }
    }

    /// The window, for backends whose page tokens are [`Position`]s.
    pub fn window(&self) -> Result<Window, String> {
        let after = match &self.page_token {
            None => None,
            Some(token) => Some(
                Position::parse(token)
                    .ok_or_else(|| format!("page_token {token:?} is not one that this store gave"))?,
            ),
        };
        // The first page left them out: the pages after it go on from where it ended.
        let offset = if after.is_some() { 0 } else { self.offset.unwrap_or(0) };
        Ok(Window { limit: self.checked_limit()?, offset, after })
    }

    /// Whether `trace`, complete with its events, is asked for; `limit`, `offset` and `page_token` aside.
    pub fn matches(&self, trace: &FlowTrace) -> bool {
        self.matches_header(trace) && self.matches_events(trace, || trace.events.iter())
    }

    /// The predicates that a header alone decides.
    pub fn matches_header(&self, trace: &FlowTrace) -> bool {
        let Self {
            flow_id,
            execution_id,
            time_range,
            status,
            actor_filter: _,
            limit: _,
            offset: _,
            event_types: _,
            tags,
            min_duration,
            max_duration,
            has_error: _,
            order: _,
            page_token: _,
        } = self;
        let start = time::nanos(trace.start_time);
        let duration = trace.duration_ns().map(i128::from);
        flow_id.as_ref().is_none_or(|flow| *flow == trace.flow_id)
            && execution_id.is_none_or(|execution| execution == trace.execution_id)
            && time_range.is_none_or(|(from, to)| (time::nanos(from)..=time::nanos(to)).contains(&start))
            && status.as_ref().is_none_or(|status| status_matches(status, &trace.status))
            && tags.iter().all(|(name, value)| trace.metadata.tags.get(name) == Some(value))
            && min_duration.is_none_or(|min| duration.is_some_and(|took| took >= clamped_nanos(min).into()))
            && max_duration.is_none_or(|max| duration.is_some_and(|took| took <= clamped_nanos(max).into()))
    }

    /// The predicates that need the events of the trace.
    pub fn matches_events<'a, I>(&self, header: &FlowTrace, events: impl Fn() -> I) -> bool
    where
        I: Iterator<Item = &'a TraceEvent>,
    {
        let failed = matches!(header.status, ExecutionStatus::Failed { .. });
        self.actor_filter.as_ref().is_none_or(|part| events().any(|event| event.actor_id.contains(part.as_str())))
            && self
                .event_types
                .as_ref()
                .is_none_or(|kinds| events().any(|event| kinds.contains(&event.event_type.kind())))
            && self.has_error.is_none_or(|wanted| wanted == (failed || events().any(TraceEvent::is_error)))
    }
}

/// Nanoseconds, no more than a trace can last.
pub fn clamped_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Whether `status` is the wanted one; `Failed` with an empty error stands for any failure.
pub fn status_matches(wanted: &ExecutionStatus, status: &ExecutionStatus) -> bool {
    match (wanted.error(), status.error()) {
        (Some(""), Some(_)) => true,
        _ => wanted == status,
    }
}

mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(super::clamped_nanos).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}
