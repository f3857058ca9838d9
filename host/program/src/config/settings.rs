//! The settings and their defaults.

use std::time::Duration;

use reflow_tracing::storage::layers::spool::SpoolConfig;
use reflow_tracing::storage::{ClickHouseConfig, MemoryConfig, PostgresConfig, SqliteConfig};
use serde::Deserialize;

use super::backend::{Backend, BuiltIn};
use super::duration;
use super::plugins::PluginsConfig;
use super::retention::RetentionConfig;
use super::server::ServerConfig;

/// The whole configuration. The default is that of an empty file.
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
            retention: RetentionConfig::default(),
            memory: MemoryConfig::default(),
            sqlite: SqliteConfig::default(),
            postgres: PostgresConfig::default(),
            clickhouse: ClickHouseConfig::default(),
        }
    }
}
