//! Where traces live: the contract, and the backends that are built in.
//!
//! A new backend is a folder here with a type that implements [`StorageBackend`], and a line in the suite's tests. What is
//! built in is measured: its public type is [the layer that does it](layers::metrics) around its own.

mod backend;
#[cfg(feature = "clickhouse")]
mod clickhouse;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod layers;
mod memory;
mod paging;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis_error;
#[cfg(any(feature = "postgres", feature = "clickhouse", feature = "plugins"))]
pub(crate) mod refusals;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod streaming;

pub use backend::{StorageBackend, StorageStats, TracePart};
#[cfg(feature = "clickhouse")]
pub use clickhouse::{
    ClickHouseConfig, ClickHouseStorage, CompressionMethod, EventMetrics, EventMetricsQuery, EventsPerMinute,
    ExecutionTimeQuantiles,
};
pub use error::StorageError;
pub use layers::metrics::{CallMetrics, StorageMetrics};
pub use memory::{EvictionPolicy, MemoryConfig, MemoryStorage};
#[cfg(feature = "postgres")]
pub use postgres::{PartitionInterval, PostgresConfig, PostgresStorage, ServerSettings, SettingAdvice, SettingChange};
#[cfg(feature = "sqlite")]
pub use sqlite::{JournalMode, SqliteConfig, SqliteStorage, SynchronousMode, TempStore};

// The words of the contract, so that a backend's file needs one `use`.
pub use crate::model::{FlowTrace, TraceEvent, TraceId, TraceQuery};
