use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What waits in a spool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpoolMetrics {
    /// Events that wait.
    pub pending_events: u64,
    /// Headers of traces that wait.
    pub pending_traces: u64,
    /// What they take up.
    pub bytes: u64,
    /// What they may take up.
    pub max_bytes: u64,
    /// Writers that wait for room.
    pub waiting_writers: u64,
    /// Writes that the backend refused when their turn came; they are kept in the file.
    pub refused: u64,
    /// Since when the backend is away; `None` while it is there.
    pub away_since: Option<DateTime<Utc>>,
    /// Why it is.
    pub error: Option<String>,
}

impl SpoolMetrics {
    /// Whether reads are up to date: the backend is there, and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pending_events == 0 && self.pending_traces == 0 && self.away_since.is_none()
    }

    /// Whether writers have to wait.
    pub fn is_full(&self) -> bool {
        self.waiting_writers > 0 || self.bytes >= self.max_bytes
    }
}
