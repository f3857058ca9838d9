use std::fmt;
use std::time::Duration;

use reflow_tracing_storage::range::{self, Number};
use serde::Deserialize;

/// Settings of a [`PostgresStorage`](super::PostgresStorage).
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, with parameters as `psql` takes them: `?sslmode=verify-full`,
    /// `&sslrootcert=FILE`, `?host=/FOLDER` for a Unix socket.
    pub connection_url: String,
    /// Whether to open existing tables for reading only. Nothing is created, migrated or written, and writes fail. The role needs
    /// `USAGE` on the schema and `SELECT` on its tables.
    pub read_only: bool,
    /// The URL of a streaming replica of that database, for reads. Reads go to `connection_url` while the replica lacks
    /// acknowledged writes or is unavailable. The replica has its own pool of the same size.
    pub read_replica_url: Option<String>,
    /// The maximum number of connections.
    pub max_connections: u32,
    /// The number of idle connections to keep open.
    pub min_connections: u32,
    /// How long a call waits for a connection, including connecting, in milliseconds.
    pub connection_timeout_ms: u64,
    /// Idle connections are closed after this many milliseconds; 0 for never.
    pub idle_timeout_ms: u64,
    /// Connections are replaced after this many milliseconds; 0 for never.
    pub max_lifetime_ms: u64,
    /// The schema of the tables. It is created if it is missing.
    pub schema_name: String,
    /// Whether events are partitioned by time. It can't be changed once the tables are created.
    pub enable_partitioning: bool,
    /// The time that a new partition covers.
    pub partition_interval: PartitionInterval,
    /// Partitions that ended this many days ago are dropped with their traces; 0 keeps everything.
    pub partition_retention_days: u32,
    /// Whether to create missing partitions. Without it, an administrator has to.
    pub auto_create_partitions: bool,
    /// Whether to create a GIN index on the attributes of events, when the tables are created.
    pub enable_gin_index: bool,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            connection_url: "postgresql://localhost/traces".into(),
            read_only: false,
            read_replica_url: None,
            max_connections: 20,
            min_connections: 1,
            connection_timeout_ms: 5_000,
            idle_timeout_ms: 600_000,
            max_lifetime_ms: 1_800_000,
            schema_name: "tracing".into(),
            enable_partitioning: false,
            partition_interval: PartitionInterval::default(),
            partition_retention_days: 0,
            auto_create_partitions: true,
            enable_gin_index: false,
        }
    }
}

impl PostgresConfig {
    pub(super) fn connection_timeout(&self) -> Duration {
        Duration::from_millis(self.connection_timeout_ms)
    }

    /// The numbers among the settings, with their ranges.
    pub fn numbers(&self) -> Vec<Number> {
        vec![
            Number::new("max_connections", self.max_connections, 1..=10_000),
            Number::new("min_connections", self.min_connections, 0..=10_000),
            Number::new("connection_timeout_ms", self.connection_timeout_ms, 1..=range::DAY_MS),
            Number::new("idle_timeout_ms", self.idle_timeout_ms, 0..=range::YEAR_MS),
            Number::new("max_lifetime_ms", self.max_lifetime_ms, 0..=range::YEAR_MS),
            Number::new("partition_retention_days", self.partition_retention_days, 0..=range::CENTURY_DAYS),
        ]
    }

    /// A problem of the settings, if there is one.
    pub(super) fn problem(&self) -> Option<String> {
        range::problem(&self.numbers()).or_else(|| self.other_problem().map(Into::into))
    }

    fn other_problem(&self) -> Option<&'static str> {
        /// PostgreSQL truncates longer names.
        const MAX_IDENTIFIER: usize = 63;
        match () {
            () if self.min_connections > self.max_connections => {
                Some("`min_connections` is greater than `max_connections`")
            }
            () if self.schema_name.is_empty() || self.schema_name.len() > MAX_IDENTIFIER => {
                Some("`schema_name` must have 1 to 63 bytes")
            }
            () if self.schema_name.contains(char::is_control) => {
                Some("`schema_name` must not contain control characters")
            }
            () if self.schema_name.starts_with("pg_") => Some("`schema_name` must not begin with `pg_`"),
            () if self.partition_retention_days > 0 && !self.enable_partitioning => {
                Some("`partition_retention_days` needs `enable_partitioning = true`")
            }
            () => None,
        }
    }
}

/// Without the URLs, which may hold a password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("max_connections", &self.max_connections)
            .field("schema_name", &self.schema_name)
            .field("enable_partitioning", &self.enable_partitioning)
            .field("partition_interval", &self.partition_interval)
            .finish_non_exhaustive()
    }
}

/// The time that a partition covers. Partitions begin at midnight or a full hour UTC, weeks on Monday.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum PartitionInterval {
    /// An hour.
    #[serde(alias = "hourly")]
    Hourly,
    /// A day.
    #[default]
    #[serde(alias = "daily")]
    Daily,
    /// Seven days.
    #[serde(alias = "weekly")]
    Weekly,
    /// A month of the calendar.
    #[serde(alias = "monthly")]
    Monthly,
}
