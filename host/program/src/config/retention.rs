use std::time::Duration;

use serde::Deserialize;

use super::duration;
use reflow_tracing::maintenance::retention::{DEFAULT_INTERVAL, RetentionPolicy};

/// The table `[storage.retention]`: what is kept. Without a bound, everything is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Traces that started longer ago are deleted.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub max_age: Option<Duration>,
    /// So many traces are kept.
    pub max_traces: Option<u64>,
    /// The store is kept to so many MiB.
    pub max_size_mb: Option<u64>,
    /// The time from one look to the next.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { max_age: None, max_traces: None, max_size_mb: None, interval: DEFAULT_INTERVAL }
    }
}

impl RetentionConfig {
    /// The policy that the bounds make.
    pub fn policy(&self) -> RetentionPolicy {
        RetentionPolicy {
            max_age: self.max_age,
            max_traces: self.max_traces,
            max_bytes: self.max_size_mb.map(|mb| mb.saturating_mul(1024 * 1024)),
        }
    }
}
