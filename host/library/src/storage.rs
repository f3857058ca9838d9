//! Where traces live: the storage contract, and the backends whose features are on.

#[cfg(feature = "clickhouse")]
pub use reflow_tracing_clickhouse::{
    ClickHouseConfig, ClickHouseStorage, CompressionMethod, EventMetrics, EventMetricsQuery, EventsPerMinute,
    ExecutionTimeQuantiles,
};
/// The suite that every backend passes.
#[cfg(feature = "conformance")]
pub use reflow_tracing_conformance as conformance;
pub use reflow_tracing_memory::{EvictionPolicy, MemoryConfig, MemoryStorage};
#[cfg(feature = "migration")]
pub use reflow_tracing_migration::Backup;
#[cfg(feature = "postgres")]
pub use reflow_tracing_postgres::{
    PartitionInterval, PostgresConfig, PostgresStorage, ServerSettings, SettingAdvice, SettingChange,
};
#[cfg(feature = "sqlite")]
pub use reflow_tracing_sqlite::{JournalMode, SqliteConfig, SqliteStorage, SynchronousMode, TempStore};
pub use reflow_tracing_storage::{
    AlsoMetrics, CallMetrics, Deletion, Detail, PageRequest, SpoolMetrics, StorageBackend, StorageBackendExt,
    StorageError, StorageMetrics, StorageStats, TracePart, async_trait, paging, range,
};

// What callers and implementations of the contract name, so that one `use` of everything here is enough for them.
pub use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId, TraceQuery};
#[doc(no_inline)]
pub use std::time::Duration;

/// What only some stores can do: for authors of backends.
pub mod extras {
    pub use reflow_tracing_storage::StorageExtras;
}

/// Layers: wrappers that add one concern to any backend, each a backend itself.
pub mod layers {
    pub use reflow_tracing_layers::*;
    pub use reflow_tracing_storage::{layer, metrics};
}
