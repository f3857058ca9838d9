use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ExecutionId, FlowId, TraceEvent, TraceId, time};

/// One execution of a flow: a header and the events that were recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowTrace {
    /// Identifies the trace.
    pub trace_id: TraceId,
    /// The flow that ran.
    pub flow_id: FlowId,
    /// Identifies the execution.
    pub execution_id: ExecutionId,
    /// The version of the flow that ran.
    pub version: FlowVersion,
    /// When the execution started.
    #[serde(with = "time::exact")]
    pub start_time: DateTime<Utc>,
    /// When it ended; `None` while it runs.
    #[serde(with = "time::exact_option")]
    pub end_time: Option<DateTime<Utc>>,
    /// How it stands.
    pub status: ExecutionStatus,
    /// What happened, ordered by (timestamp, event id) when it comes from a store.
    pub events: Vec<TraceEvent>,
    /// Where it ran.
    pub metadata: TraceMetadata,
}

impl FlowTrace {
    /// A trace of `flow_id` with fresh ids that starts now and has no events.
    pub fn new(flow_id: FlowId, version: FlowVersion) -> Self {
        Self { flow_id, version, start_time: Utc::now(), ..Self::default() }
    }

    /// How long the execution took, in nanoseconds; negative when it ended before it started, `None` while it runs.
    pub fn duration_ns(&self) -> Option<i64> {
        self.end_time.map(|end| time::nanos(end).saturating_sub(time::nanos(self.start_time)))
    }
}

/// The version of a flow.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowVersion {
    /// Incompatible changes.
    pub major: u32,
    /// Compatible additions.
    pub minor: u32,
    /// Compatible repairs.
    pub patch: u32,
    /// The commit that the flow was built from.
    pub git_hash: Option<String>,
    /// When the version was made.
    #[serde(with = "time::exact")]
    pub timestamp: DateTime<Utc>,
}

/// How an execution stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecutionStatus {
    /// Not started.
    #[default]
    Pending,
    /// Started, not ended.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed {
        /// What went wrong.
        error: String,
    },
    /// Stopped from outside.
    Cancelled,
}

impl ExecutionStatus {
    /// The name of the case, as on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed { .. } => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// The message of a failure.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Failed { error } => Some(error),
            _ => None,
        }
    }
}

/// Where an execution ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceMetadata {
    /// Who ran it.
    pub user_id: Option<String>,
    /// The session that it belongs to.
    pub session_id: Option<String>,
    /// `production`, `staging`, ...
    pub environment: String,
    /// The machine.
    pub hostname: String,
    /// The operating system's process id.
    pub process_id: u32,
    /// The thread.
    pub thread_id: String,
    /// Free-form labels, searchable.
    pub tags: BTreeMap<String, String>,
}
