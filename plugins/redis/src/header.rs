//! The searchable part of a header.

use reflow_tracing_plugin::{Result, Status, StorageError, Trace, TraceQuery, Uuid};
use serde::{Deserialize, Serialize};

use crate::{duration, key};

/// The searchable fields of a header, stored in `index:ID`. They determine the indexes that the trace is in.
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
            status: trace.status.name().into(),
            error: trace.error.clone(),
            tags: trace.tags.clone(),
        }
    }

    pub fn encode(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(|error| StorageError::other(format!("can't encode a header: {error}")))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |error| StorageError::other(format!("a key `index:..` has unexpected content: {error}"));
        postcard::from_bytes(bytes).map_err(damaged)
    }

    /// The indexes that follow from the header.
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

    /// The duration in nanoseconds, if the trace has ended.
    fn took(&self) -> Option<i128> {
        self.end.map(|end| i128::from(end) - i128::from(self.start))
    }

    pub fn has_failed(&self) -> bool {
        self.status == Status::Failed.name()
    }

    /// Whether it matches the predicates on headers.
    pub fn matches(&self, query: &TraceQuery) -> bool {
        let took = self.took();
        query.flow_id.as_ref().is_none_or(|flow| *flow == self.flow)
            && query.execution_id.is_none_or(|id| (id.high, id.low) == self.execution)
            && query.start_from.is_none_or(|from| self.start >= from)
            && query.start_to.is_none_or(|to| self.start <= to)
            && query.status.is_none_or(|status| status.name() == self.status)
            && query.error.as_ref().is_none_or(|error| self.error.as_ref() == Some(error))
            && query.tags.iter().all(|tag| self.tags.contains(tag))
            && query.min_duration.is_none_or(|min| took.is_some_and(|took| took >= min.into()))
            && query.max_duration.is_none_or(|max| took.is_some_and(|took| took <= max.into()))
    }
}
