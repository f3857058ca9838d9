use std::fmt;
use std::time::Duration;

use reflow_tracing_storage::range::{self, Number};
use serde::Deserialize;

/// Settings of a [`ClickHouseStorage`](super::ClickHouseStorage).
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT`: the HTTP interface of the server or of a proxy.
    pub url: String,
    /// The database of the tables. It is created if it is missing.
    pub database: String,
    /// Whether to open existing tables for reading only. Nothing is created, migrated or written, and writes fail. The user needs
    /// `SELECT` on the tables, and may have a profile with `readonly = 1`.
    pub read_only: bool,
    /// The name of the cluster that the tables are sharded over; `None` for one server. It can't be changed once the tables are
    /// created.
    pub cluster: Option<String>,
    /// The user; `None` for the server's `default`.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// How requests and responses are compressed.
    pub compression: CompressionMethod,
    /// Rows per batch. A full batch is sent immediately.
    pub batch_size: usize,
    /// The longest time in milliseconds that a write waits for its batch to fill while another batch is sent.
    pub flush_interval_ms: u64,
    /// The maximum memory per statement in bytes; 0 for the server's own limit.
    pub max_memory_usage: u64,
    /// The maximum duration of a statement in milliseconds; 0 for the server's own limit.
    pub max_execution_time_ms: u64,
    /// The server drops traces that started this many days ago, with their events; 0 keeps everything.
    pub retention_days: u32,
}

impl Default for ClickHouseConfig {
    fn default() -> Self {
        Self {
            url: "http://localhost:8123".into(),
            database: "tracing".into(),
            read_only: false,
            cluster: None,
            username: None,
            password: None,
            compression: CompressionMethod::default(),
            batch_size: 10_000,
            flush_interval_ms: 5_000,
            max_memory_usage: 1_000_000_000,
            max_execution_time_ms: 300_000,
            retention_days: 0,
        }
    }
}

impl ClickHouseConfig {
    pub(super) fn flush_interval(&self) -> Duration {
        Duration::from_millis(self.flush_interval_ms)
    }

    /// The numbers among the settings, with their ranges.
    pub fn numbers(&self) -> Vec<Number> {
        /// A batch is one block on the server, which makes it atomic.
        const LARGEST_BATCH: u64 = 1_000_000;
        /// The server stores expiry times in 32 bits.
        const LONGEST_RETENTION: u64 = 10_000;
        /// A pebibyte: more than any machine has.
        const MOST_MEMORY: u64 = 1 << 50;
        vec![
            Number::new("batch_size", self.batch_size, 1..=LARGEST_BATCH),
            Number::new("flush_interval_ms", self.flush_interval_ms, 0..=range::DAY_MS),
            Number::new("max_memory_usage", self.max_memory_usage, 0..=MOST_MEMORY),
            Number::new("max_execution_time_ms", self.max_execution_time_ms, 0..=range::YEAR_MS),
            Number::new("retention_days", self.retention_days, 0..=LONGEST_RETENTION),
        ]
    }

    /// A problem of the settings, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        range::problem(&self.numbers()).or_else(|| self.other_problem().map(Into::into))
    }

    fn other_problem(&self) -> Option<&'static str> {
        let host = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        match host {
            None => Some("`url` must begin with `http://` or `https://`"),
            Some(host) if host.contains('@') => {
                Some("`url` must not contain a user or a password; use `username` and `password`")
            }
            Some(host) if host.is_empty() || host.contains(['?', '#', ' ']) => {
                Some("`url` must be `http://HOST:PORT`, without parameters")
            }
            Some(_) if self.database.is_empty() => Some("`database` is empty"),
            Some(_) if self.database.contains(char::is_control) => {
                Some("`database` must not contain control characters")
            }
            Some(_)
                if self
                    .cluster
                    .as_ref()
                    .is_some_and(|cluster| cluster.is_empty() || cluster.contains(char::is_control)) =>
            {
                Some("`cluster` must be the name of a cluster; leave it out for a single server")
            }
            Some(_) if self.password.is_some() && self.username.is_none() => Some("`password` needs `username`"),
            Some(_) => None,
        }
    }
}

/// Without the password.
impl fmt::Debug for ClickHouseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseConfig")
            .field("url", &self.url)
            .field("database", &self.database)
            .field("cluster", &self.cluster)
            .field("username", &self.username)
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

/// Compression of requests and responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum CompressionMethod {
    /// No compression, for a server on the same machine.
    #[serde(alias = "none")]
    None,
    /// LZ4.
    #[default]
    #[serde(alias = "lz4")]
    LZ4,
}
