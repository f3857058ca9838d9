//! What of a header is searched by.

use reflow_tracing_plugin::{Result, Status, StorageError, Trace, TraceQuery, Uuid};
use serde::{Deserialize, Serialize};

use crate::{duration, key};

/// The searchable fields of a header, as `index:ID` keeps them: which indexes the trace stands in follows from them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub start: i64,
    end: Option<i64>,
    flow: String,
    execution: (u64, u64),
    status: String,
    error: Option<String>,
    tags: Vec<(String, String)>,
}

impl Header {
    pub fn of(trace: &Trace) -> Self {
        Self {
            start: trace.start_time,
            end: trace.end_time,
            flow: trace.flow_id.clone(),
            execution: (trace.execution_id.high, trace.execution_id.low),
            status: status_name(trace.status).into(),
            error: trace.error.clone(),
            tags: trace.tags.clone(),
        }
    }

    pub fn encode(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(|error| StorageError::other(format!("a header: {error}")))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |error| StorageError::other(format!("a key `index:..` holds something else: {error}"));
        postcard::from_bytes(bytes).map_err(damaged)
    }

    /// The indexes that it stands in, as far as the header tells.
    pub fn indexes(&self) -> Vec<String> {
        let (high, low) = self.execution;
        let mut indexes = vec![
            key::BY_START.to_owned(),
            key::by_flow(&self.flow),
            key::by_execution(Uuid { high, low }),
            key::by_status(&self.status),
        ];
        indexes.extend(self.error.as_deref().map(key::by_error));
        indexes.extend(self.took().map(|took| key::by_step(duration::step(took))));
        indexes.extend(self.tags.iter().map(|(name, value)| key::by_tag(name, value)));
        indexes
    }

    /// How long it took, once it has ended, in nanoseconds.
    fn took(&self) -> Option<i128> {
        self.end.map(|end| i128::from(end) - i128::from(self.start))
    }

    pub fn has_failed(&self) -> bool {
        self.status == status_name(Status::Failed)
    }

    /// Whether it is asked for, as far as the header tells.
    pub fn matches(&self, query: &TraceQuery) -> bool {
        let took = self.took();
        query.flow_id.as_ref().is_none_or(|flow| *flow == self.flow)
            && query.execution_id.is_none_or(|id| (id.high, id.low) == self.execution)
            && query.start_from.is_none_or(|from| self.start >= from)
            && query.start_to.is_none_or(|to| self.start <= to)
            && query.status.is_none_or(|status| status_name(status) == self.status)
            && query.error.as_ref().is_none_or(|error| self.error.as_ref() == Some(error))
            && query.tags.iter().all(|tag| self.tags.contains(tag))
            && query.min_duration.is_none_or(|min| took.is_some_and(|took| took >= min.into()))
            && query.max_duration.is_none_or(|max| took.is_some_and(|took| took <= max.into()))
    }
}

/// As it is stored.
pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::Pending => "Pending",
        Status::Running => "Running",
        Status::Completed => "Completed",
        Status::Failed => "Failed",
        Status::Cancelled => "Cancelled",
    }
}
