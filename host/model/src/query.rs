use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ExecutionId, ExecutionStatus, FlowId, FlowTrace, TraceEvent, TraceEventKind, TraceId, time};

/// Selects traces. All conditions that are set must hold; the default selects the newest 100 traces.
///
/// The fields up to `offset` are Reflow's. The JSON omits the others when they are not set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceQuery {
    /// Traces of this flow.
    pub flow_id: Option<FlowId>,
    /// The trace of this execution.
    pub execution_id: Option<ExecutionId>,
    /// Traces that started within these bounds, both included.
    pub time_range: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Traces with this status. `Failed` with an empty error matches any failure, otherwise only failures with that error.
    pub status: Option<ExecutionStatus>,
    /// Traces with an event whose actor id contains this text, case-sensitively.
    pub actor_filter: Option<String>,
    /// The maximum number of traces: 100 by default, at most 10,000.
    pub limit: Option<usize>,
    /// The number of matching traces to skip. Only the first page skips them.
    pub offset: Option<usize>,

    /// Traces with an event of one of these kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<TraceEventKind>>,
    /// Traces whose metadata has all of these tags with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Ended traces that took at least this long. In JSON: nanoseconds.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<Duration>,
    /// Ended traces that took at most this long. In JSON: nanoseconds.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// With `true`, traces that failed or have an event that reports an error; with `false`, all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_error: Option<bool>,
    /// The order of the results.
    #[serde(default, skip_serializing_if = "SortOrder::is_default")]
    pub order: SortOrder,
    /// The [`TracePage::next_page_token`] of the page before. Use it with the same conditions and order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// The order of traces. Traces with the same start time are ordered by ascending trace id in both.
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

/// One page of results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TracePage {
    /// The traces, complete with their events.
    pub traces: Vec<FlowTrace>,
    /// The [`TraceQuery::page_token`] of the next page; `None` on the last page.
    pub next_page_token: Option<String>,
    /// How many traces match, regardless of limit and offset; `None` if the request didn't ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// The part of the matching traces that a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The maximum number of traces.
    pub limit: usize,
    /// The number of traces to skip first.
    pub offset: usize,
    /// The last trace of the page before.
    pub after: Option<Position>,
}

/// A position in the order of traces: right after this trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Nanoseconds since 1970.
    pub start_time: i64,
    /// Orders traces that start at the same time.
    pub trace_id: TraceId,
}

impl Position {
    /// The position of a trace.
    pub fn of(trace: &FlowTrace) -> Self {
        Self { start_time: time::nanos(trace.start_time), trace_id: trace.trace_id }
    }

    /// A key that ascends in this order.
    pub fn sort_key(self, order: SortOrder) -> (i128, TraceId) {
        let start = i128::from(self.start_time);
        (if order == SortOrder::NewestFirst { -start } else { start }, self.trace_id)
    }

    /// The position as a page token.
    pub fn token(self) -> String {
        format!("{}.{}", self.start_time, self.trace_id.0.simple())
    }

    /// The position that a page token is; `None` for the tokens of other stores.
    pub fn parse(token: &str) -> Option<Self> {
        let (start_time, trace_id) = token.split_once('.')?;
        Some(Self { start_time: start_time.parse().ok()?, trace_id: TraceId(Uuid::try_parse(trace_id).ok()?) })
    }
}

impl TraceQuery {
    /// The limit of a query that sets none.
    pub const DEFAULT_LIMIT: usize = 100;
    /// The maximum limit. Use a page token or an offset to reach further traces.
    pub const MAX_LIMIT: usize = 10_000;

    /// Checks the query without running it. The error says what is wrong and how to fix it.
    pub fn validate(&self) -> Result<(), String> {
        if let Some((from, to)) = self.time_range
            && from > to
        {
            return Err(format!("time_range ends ({to}) before it starts ({from}); swap the two times"));
        }
        self.checked_limit().map(|_| ())
    }

    /// The limit or its default. The error says which limits are valid.
    pub fn checked_limit(&self) -> Result<usize, String> {
        match self.limit {
            Some(limit) if limit > Self::MAX_LIMIT => Err(format!(
                "limit {limit} is over the maximum of {}; read the results in pages, with page_token or offset",
                Self::MAX_LIMIT
            )),
            limit => Ok(limit.unwrap_or(Self::DEFAULT_LIMIT)),
        }
    }

    /// The window of the page, for backends whose page tokens are [`Position`]s.
    pub fn window(&self) -> Result<Window, String> {
        let after = match &self.page_token {
            None => None,
            Some(token) => Some(
                Position::parse(token)
                    .ok_or_else(|| format!("page_token {token:?} is not valid; use a next_page_token of this store"))?,
            ),
        };
        // The first page skipped them; the following pages continue where it ended.
        let offset = if after.is_some() { 0 } else { self.offset.unwrap_or(0) };
        Ok(Window { limit: self.checked_limit()?, offset, after })
    }

    /// Whether `trace`, complete with its events, matches; `limit`, `offset` and `page_token` are ignored.
    pub fn matches(&self, trace: &FlowTrace) -> bool {
        self.matches_header(trace) && self.matches_events(trace, || trace.events.iter())
    }

    /// Whether the conditions on the header hold.
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

    /// Whether the conditions on the events hold.
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

/// The duration in nanoseconds, at most as long as a trace can last.
pub fn clamped_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Whether `status` is the wanted one. `Failed` with an empty error matches any failure.
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
