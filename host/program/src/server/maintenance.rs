use std::time::Duration;

use reflow_tracing::maintenance::health::HealthConfig;
use reflow_tracing::maintenance::retention::RetentionPolicy;

use crate::config::StorageConfig;

/// The background maintenance of the store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Maintenance {
    /// The health checks.
    pub health: HealthConfig,
    /// The retention policy, and the time between two runs; `None` when nothing is deleted.
    pub retention: Option<(RetentionPolicy, Duration)>,
}

impl Maintenance {
    /// The maintenance that the configuration asks for.
    pub fn new(config: &StorageConfig) -> Self {
        let policy = config.retention.policy();
        Self {
            health: HealthConfig { interval: config.health_interval, ..HealthConfig::default() },
            retention: (!policy.keeps_everything()).then_some((policy, config.retention.interval)),
        }
    }
}
