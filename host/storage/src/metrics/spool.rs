use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The state of a spool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpoolMetrics {
    /// Events waiting to be stored.
    pub pending_events: u64,
    /// Trace headers waiting to be stored.
    pub pending_traces: u64,
    /// The size of the waiting writes in bytes.
    pub bytes: u64,
    /// The maximum of `bytes`.
    pub max_bytes: u64,
    /// Writers blocked because the spool is full.
    pub waiting_writers: u64,
    /// Writes that the backend rejected when they were replayed. The file keeps them.
    pub refused: u64,
    /// When the backend became unavailable; `None` while it is available.
    pub away_since: Option<DateTime<Utc>>,
    /// Why the backend is unavailable.
    pub error: Option<String>,
}

impl SpoolMetrics {
    /// Whether reads are up to date: the backend is available and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pending_events == 0 && self.pending_traces == 0 && self.away_since.is_none()
    }

    /// Whether writers are blocked.
    pub fn is_full(&self) -> bool {
        self.waiting_writers > 0 || self.bytes >= self.max_bytes
    }
}
