use std::time::Duration;

use serde::Deserialize;

use super::duration;
use reflow_tracing::maintenance::retention::{DEFAULT_INTERVAL, RetentionPolicy};

/// The table `[storage.retention]`. Without a limit, nothing is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Traces that started earlier than this long ago are deleted.
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub max_age: Option<Duration>,
    /// The most traces that are kept.
    pub max_traces: Option<u64>,
    /// The most space that the store may take, in MiB.
    pub max_size_mb: Option<u64>,
    /// The time between two runs.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { max_age: None, max_traces: None, max_size_mb: None, interval: DEFAULT_INTERVAL }
    }
}

impl RetentionConfig {
    /// The policy with these limits.
    pub fn policy(&self) -> RetentionPolicy {
        RetentionPolicy {
            max_age: self.max_age,
            max_traces: self.max_traces,
            max_bytes: self.max_size_mb.map(|mb| mb.saturating_mul(1024 * 1024)),
        }
    }
}
