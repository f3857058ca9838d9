//! The settings and their defaults.

use std::time::Duration;

use reflow_tracing::maintenance::retention::{DEFAULT_INTERVAL, RetentionPolicy};
use reflow_tracing::storage::layers::spool::SpoolConfig;
use reflow_tracing::storage::{ClickHouseConfig, MemoryConfig, PostgresConfig, SqliteConfig};
use serde::Deserialize;

use super::backend::{Also, Backend, BuiltIn};
use super::duration;
use super::metrics::MetricsConfig;
use super::plugins::PluginsConfig;
use super::server::ServerConfig;
use super::without_effect::{CompressionConfig, OtlpConfig};

/// The whole configuration. The default equals an empty file.
///
/// Paths are relative to the working folder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on, and who may connect.
    pub server: ServerConfig,
    /// The store for traces.
    pub storage: StorageConfig,
    /// Custom backends.
    pub plugins: PluginsConfig,
    /// Where metrics are served.
    pub metrics: MetricsConfig,
    /// A table of Reflow's, without effect.
    pub compression: Option<CompressionConfig>,
    /// A table of Reflow's, without effect.
    pub otlp: Option<OtlpConfig>,
}

/// The table `[storage]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// A built-in backend, or a plugin's name.
    pub backend: Backend,
    /// The time limit of one call to the backend; 0 for no limit.
    #[serde(deserialize_with = "duration::deserialize")]
    pub call_timeout: Duration,
    /// How often a call that failed with a transient error is retried. The default is 3, and 0 for `memory` and `sqlite`.
    pub retries: Option<u32>,
    /// The time between two health checks of the store.
    #[serde(deserialize_with = "duration::deserialize")]
    pub health_interval: Duration,
    /// Where the host spools writes while the backend is unavailable. Without a spool, it refuses them.
    pub spool: Option<SpoolConfig>,
    /// Backends that get every write besides the store, in order and at least once.
    pub also: Vec<Also>,
    /// The folder of their queues, and the maximum of each.
    pub also_queue: SpoolConfig,
    /// Which traces are deleted, and when.
    pub retention: RetentionConfig,
    /// For the backend `memory`.
    pub memory: MemoryConfig,
    /// For the backend `sqlite`.
    pub sqlite: SqliteConfig,
    /// For the backend `postgres`.
    pub postgres: PostgresConfig,
    /// For the backend `clickhouse`.
    pub clickhouse: ClickHouseConfig,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            backend: Backend::BuiltIn(BuiltIn::Sqlite),
            call_timeout: Duration::from_secs(60),
            retries: None,
            health_interval: Duration::from_secs(30),
            spool: None,
            also: Vec::new(),
            also_queue: SpoolConfig::new("also"),
            retention: RetentionConfig::default(),
            memory: MemoryConfig::default(),
            sqlite: SqliteConfig::default(),
            postgres: PostgresConfig::default(),
            clickhouse: ClickHouseConfig::default(),
        }
    }
}

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
