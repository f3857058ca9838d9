use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::decoded_size::entries_bytes;
use super::open_struct::open_struct;
use super::{ExecutionId, FlowId, TraceEvent, TraceId, time};

/// The tag that a host gives to a trace whose times are more than a day from its own clock: when it received the trace
/// (RFC 3339). Retention goes by it instead of the start.
pub const RECEIVED_TAG: &str = "reflow.received_at";

open_struct! {
    /// One execution of a flow: a header and the events that were recorded.
    #[derive(Debug, Clone, Default, PartialEq)]
    "FlowTrace": pub struct FlowTrace {
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
        /// Its status.
        pub status: ExecutionStatus,
        /// The events. A store returns them ordered by (timestamp, event id).
        pub events: Vec<TraceEvent>,
        /// Where it ran.
        pub metadata: TraceMetadata,
    }
}

impl FlowTrace {
    /// A trace of `flow_id` with fresh ids that starts now and has no events.
    pub fn new(flow_id: FlowId, version: FlowVersion) -> Self {
        Self { flow_id, version, start_time: Utc::now(), ..Self::default() }
    }

    /// When a host received the trace, if its own times can't be right; see [`RECEIVED_TAG`].
    pub fn received_at(&self) -> Option<DateTime<Utc>> {
        let received_at = DateTime::parse_from_rfc3339(self.metadata.tags.get(RECEIVED_TAG)?).ok()?;
        Some(received_at.to_utc())
    }

    /// About how many bytes the header takes up in memory: everything but the events. Only tags, texts and unknown fields make it
    /// large.
    pub fn approximate_header_bytes(&self) -> usize {
        /// The size of a typical header.
        const TYPICAL: usize = 600;
        let Self { version, metadata, .. } = self;
        let tags = metadata.tags.iter().map(|(name, value)| 100 + name.len() + value.len()).sum::<usize>();
        let texts = [&self.flow_id.0, &metadata.environment, &metadata.hostname, &metadata.thread_id];
        let optional = [&version.git_hash, &metadata.user_id, &metadata.session_id].into_iter().flatten();
        let texts = texts.into_iter().chain(optional).map(String::len).sum::<usize>();
        let more = [&self.more, &version.more, &metadata.more].into_iter().flat_map(|more| more.iter());
        TYPICAL + tags + texts + self.status.error().map_or(0, str::len) + entries_bytes(more)
    }

    /// How long the execution took, in nanoseconds; negative when it ended before it started, `None` while it runs.
    pub fn duration_ns(&self) -> Option<i64> {
        self.end_time.map(|end| time::nanos(end).saturating_sub(time::nanos(self.start_time)))
    }
}

open_struct! {
    /// The version of a flow.
    #[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    "FlowVersion": pub struct FlowVersion {
        /// Incompatible changes.
        pub major: u32,
        /// Compatible additions.
        pub minor: u32,
        /// Compatible fixes.
        pub patch: u32,
        /// The commit that the flow was built from.
        pub git_hash: Option<String>,
        /// When the version was made.
        #[serde(with = "time::exact")]
        pub timestamp: DateTime<Utc>,
    }
}

/// The status of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecutionStatus {
    /// Not started.
    #[default]
    Pending,
    /// Started, not ended.
    Running,
    /// Ended successfully.
    Completed,
    /// Ended with an error.
    Failed {
        /// The error message.
        error: String,
    },
    /// Stopped from outside.
    Cancelled,
}

impl ExecutionStatus {
    /// The name of the variant, as on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed { .. } => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// The status with this name; `error` is the message of `Failed`, and absent for the others.
    pub fn from_columns(name: &str, error: Option<String>) -> Result<Self, String> {
        match (name, error) {
            ("Pending", None) => Ok(Self::Pending),
            ("Running", None) => Ok(Self::Running),
            ("Completed", None) => Ok(Self::Completed),
            ("Cancelled", None) => Ok(Self::Cancelled),
            ("Failed", Some(error)) => Ok(Self::Failed { error }),
            ("Failed", None) => Err("the status is `Failed`, but its error is missing".into()),
            ("Pending" | "Running" | "Completed" | "Cancelled", Some(_)) => {
                Err(format!("the status `{name}` has an error; only `Failed` may have one"))
            }
            _ => Err(format!("`{name}` is not a status")),
        }
    }

    /// The error message of a failure.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Failed { error } => Some(error),
            _ => None,
        }
    }
}

open_struct! {
    /// Where an execution ran.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    "TraceMetadata": pub struct TraceMetadata {
        /// The user who ran it.
        pub user_id: Option<String>,
        /// The session that it belongs to.
        pub session_id: Option<String>,
        /// `production`, `staging`, ...
        pub environment: String,
        /// The host name of the machine.
        pub hostname: String,
        /// The operating system's process id.
        pub process_id: u32,
        /// The id of the thread.
        pub thread_id: String,
        /// Free-form labels that queries can search for.
        pub tags: BTreeMap<String, String>,
    }
}
