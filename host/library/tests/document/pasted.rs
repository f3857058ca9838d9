//! The page's Rust examples, word for word. They only have to compile; the other modules run them.
//!
//! Three examples are missing here, because a struct expression needs all fields: the full configurations of SQLite,
//! PostgreSQL and ClickHouse. They run in their own modules, with `..Default::default()`.
#![allow(dead_code, unused_variables, clippy::let_unit_value)]
#![cfg_attr(rustfmt, rustfmt::skip)]

use reflow_tracing::storage::*;

type Outcome = Result<(), StorageError>;

fn memory() {
use reflow_tracing::storage::MemoryStorage;

let storage = MemoryStorage::new();
}

fn memory_features() {
use reflow_tracing::storage::{MemoryStorage, MemoryConfig};

let config = MemoryConfig {
    max_traces: 10_000,
    max_events_per_trace: 1_000,
    max_memory_mb: 256,
    eviction_policy: EvictionPolicy::LRU,
};

let storage = MemoryStorage::with_config(config);
}

async fn sqlite() -> Outcome {
use reflow_tracing::storage::SqliteStorage;

let storage = SqliteStorage::new("traces.db").await?;
Ok(())
}

fn sqlite_tuning() {
// Optimize for write performance
let fast_config = SqliteConfig {
    journal_mode: JournalMode::WAL,      // Write-Ahead Logging
    synchronous: SynchronousMode::Normal, // Balanced durability/speed
    cache_size_mb: 128,                  // Larger cache
    busy_timeout_ms: 10000,              // Handle contention
    ..Default::default()
};

// Optimize for read performance
let read_config = SqliteConfig {
    cache_size_mb: 256,                  // Very large cache
    temp_store: TempStore::Memory,       // In-memory temp tables
    mmap_size_mb: 512,                   // Memory-mapped I/O
    ..Default::default()
};
}

async fn postgres() -> Outcome {
use reflow_tracing::storage::PostgresStorage;

let storage = PostgresStorage::new("postgresql://user:pass@localhost/traces").await?;
Ok(())
}

fn postgres_partitions() {
// Automatic partition management
let config = PostgresConfig {
    enable_partitioning: true,
    partition_interval: PartitionInterval::Daily,
    partition_retention_days: 30,
    auto_create_partitions: true,
    ..Default::default()
};
}

async fn clickhouse() -> Outcome {
use reflow_tracing::storage::ClickHouseStorage;

let storage = ClickHouseStorage::new("http://localhost:8123").await?;
Ok(())
}

mod the_trait {
use reflow_tracing::storage::*;

use async_trait::async_trait;
// The page also imports `StorageBackend`, the name that the example defines.
use reflow_tracing::storage::StorageError;

#[async_trait]
pub trait StorageBackend: Send + Sync {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError>;
    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError>;
    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError>;
    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError>;
    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError>;
    async fn health_check(&self) -> Result<(), StorageError>;
}

/// Compiles only while the contract has the page's methods.
#[async_trait]
impl<B: reflow_tracing::storage::StorageBackend> StorageBackend for B {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        reflow_tracing::storage::StorageBackend::store_trace(self, trace).await
    }
    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        reflow_tracing::storage::StorageBackend::get_trace(self, trace_id).await
    }
    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        reflow_tracing::storage::StorageBackend::query_traces(self, query).await
    }
    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        reflow_tracing::storage::StorageBackend::store_event(self, trace_id, event).await
    }
    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        reflow_tracing::storage::StorageBackend::get_events(self, trace_id).await
    }
    async fn health_check(&self) -> Result<(), StorageError> {
        reflow_tracing::storage::StorageBackend::health_check(self).await
    }
}
}

fn development() {
// Quick start with memory storage
let storage = MemoryStorage::new();
}

async fn small_production() -> Outcome {
// SQLite for simple deployments
let storage = SqliteStorage::new("traces.db").await?;
Ok(())
}

async fn medium_production() -> Outcome {
// PostgreSQL for robust applications
let storage = PostgresStorage::new("postgresql://...").await?;
Ok(())
}

async fn large_scale() -> Outcome {
// ClickHouse for high-volume scenarios
let storage = ClickHouseStorage::new("http://clickhouse:8123").await?;
Ok(())
}

async fn migration() -> Outcome {
use reflow_tracing::migration::StorageMigrator;

// Migrate from SQLite to PostgreSQL
let migrator = StorageMigrator::new(
    SqliteStorage::new("traces.db").await?,
    PostgresStorage::new("postgresql://...").await?
);

migrator.migrate_all_traces().await?;
Ok(())
}

async fn backup(storage: SqliteStorage) -> Outcome {
// Backup to file
let backup_path = "traces_backup.json";
storage.export_to_file(backup_path).await?;

// Restore from file
storage.import_from_file(backup_path).await?;
Ok(())
}

async fn metrics(storage: SqliteStorage) -> Outcome {
#[allow(unused_imports)] // The page's.
use reflow_tracing::storage::StorageMetrics;

let metrics = storage.get_metrics().await?;
println!("Storage performance:");
println!("  Write latency: {}ms", metrics.avg_write_latency_ms);
println!("  Read latency: {}ms", metrics.avg_read_latency_ms);
println!("  Storage size: {}MB", metrics.storage_size_mb);
println!("  Query performance: {}ms", metrics.avg_query_latency_ms);
Ok(())
}

fn health(storage: SqliteStorage) {
// Regular health checks
tokio::spawn(async move {
    loop {
        match storage.health_check().await {
            Ok(_) => println!("Storage healthy"),
            Err(e) => eprintln!("Storage unhealthy: {}", e),
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
});
}
