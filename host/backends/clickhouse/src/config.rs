use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// How a [`ClickHouseStorage`](super::ClickHouseStorage) uses its server.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT`: the HTTP interface of the server, or of one that passes requests on.
    pub url: String,
    /// The database that holds the tables. It is created when it is missing.
    pub database: String,
    /// The cluster of the server's configuration over whose shards the tables are spread; `None` for one server. It is decided
    /// when the tables are created.
    pub cluster: Option<String>,
    /// The user; the server's `default` when there is none.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// How what is sent to the server is compressed, and what it answers.
    pub compression: CompressionMethod,
    /// The rows of a full batch, which is sent at once.
    pub batch_size: usize,
    /// The longest time that a write waits for the batch before it to be stored, while its own is not full, in milliseconds.
    pub flush_interval_ms: u64,
    /// The most memory that the server may use for one statement, in bytes; 0 for no limit but the server's.
    pub max_memory_usage: u64,
    /// The longest time that a statement may take, in milliseconds; 0 for no limit but the server's.
    pub max_execution_time_ms: u64,
    /// Traces that started so many days ago, and what happened then, are dropped by the server; 0 keeps everything.
    pub retention_days: u32,
}

impl Default for ClickHouseConfig {
    fn default() -> Self {
        Self {
            url: "http://localhost:8123".into(),
            database: "tracing".into(),
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

    /// What the settings say that can't be, if there is something.
    pub(super) fn problem(&self) -> Option<&'static str> {
        /// A batch is one block of the server's, which is what makes it all or nothing.
        const LARGEST_BATCH: usize = 1_000_000;
        /// The server keeps the time when data expires in 32 bits.
        const LONGEST_RETENTION: u32 = 10_000;
        let host = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        match host {
            None => Some("`url` must begin with `http://` or `https://`"),
            Some(host) if host.contains('@') => {
                Some("`url` must not hold a user or a password; there are `username` and `password`")
            }
            Some(host) if host.is_empty() || host.contains(['?', '#', ' ']) => {
                Some("`url` must be `http://HOST:PORT`, without parameters")
            }
            Some(_) if self.database.is_empty() => Some("`database` is empty"),
            Some(_) if self.database.contains(char::is_control) => Some("`database` must not hold control characters"),
            Some(_)
                if self
                    .cluster
                    .as_ref()
                    .is_some_and(|cluster| cluster.is_empty() || cluster.contains(char::is_control)) =>
            {
                Some("`cluster` must be the name of a cluster; leave it out for a single server")
            }
            Some(_) if self.password.is_some() && self.username.is_none() => Some("`password` needs `username`"),
            Some(_) if !(1..=LARGEST_BATCH).contains(&self.batch_size) => Some("`batch_size` must be 1 to 1000000"),
            Some(_) if self.retention_days > LONGEST_RETENTION => Some("`retention_days` must be at most 10000"),
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

/// How data is compressed on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum CompressionMethod {
    /// Not at all: for a server on the same machine.
    #[serde(alias = "none")]
    None,
    /// LZ4.
    #[default]
    #[serde(alias = "lz4")]
    LZ4,
}
