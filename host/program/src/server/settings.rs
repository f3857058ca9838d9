use std::num::NonZeroUsize;
use std::time::Duration;

use super::access::Access;
use super::maintenance::Maintenance;
use crate::config::Config;

/// How a host serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which requests are allowed.
    pub access: Access,
    /// The background maintenance of the store.
    pub maintenance: Maintenance,
    /// The most WebSocket connections at the same time; `None` for no limit.
    pub max_connections: Option<NonZeroUsize>,
    /// The memory for all that connections hold, in bytes.
    pub max_buffered: usize,
    /// The path of the metrics; `None` when they are not served.
    pub metrics: Option<String>,
    /// How long connections are still accepted after the host was asked to stop.
    pub shutdown_delay: Duration,
}

impl Settings {
    /// What the configuration says.
    pub fn new(config: &Config) -> Self {
        let Config { server, storage, metrics, .. } = config;
        Self {
            access: Access::new(server),
            maintenance: Maintenance::new(storage),
            max_connections: server.max_connections,
            max_buffered: server.max_buffered_mb.bytes(),
            metrics: metrics.enabled.then(|| metrics.endpoint.as_str().to_owned()),
            shutdown_delay: server.shutdown_delay,
        }
    }
}
