//! The paths are in a temporary folder; the page's are relative to the working folder.

use reflow_tracing::storage::*;

use super::works;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn sqlite_storage_needs_a_file_name() -> Result<(), StorageError> {
    let folder = folder();
    let path = folder.path().join("traces.db");

    use reflow_tracing::storage::SqliteStorage;

    let storage = SqliteStorage::new(path.to_str().unwrap()).await?;

    works(&storage).await;
    Ok(())
}

#[tokio::test]
async fn sqlite_storage_takes_a_configuration() -> Result<(), StorageError> {
    let folder = folder();
    let path = folder.path().join("traces.db");

    use reflow_tracing::storage::{SqliteConfig, SqliteStorage};

    let config = SqliteConfig {
        database_path: path.to_str().unwrap().to_string(),
        journal_mode: JournalMode::WAL,
        synchronous: SynchronousMode::Normal,
        cache_size_mb: 64,
        busy_timeout_ms: 5000,
        max_connections: 10,
        // The page's next example has two more fields, and a struct expression needs all of them.
        ..Default::default()
    };

    let storage = SqliteStorage::with_config(config).await?;

    works(&storage).await;
    Ok(())
}

#[tokio::test]
async fn sqlite_storage_is_tuned_for_writing_or_reading() -> Result<(), StorageError> {
    // Optimize for write performance
    let fast_config = SqliteConfig {
        journal_mode: JournalMode::WAL,       // Write-Ahead Logging
        synchronous: SynchronousMode::Normal, // Balanced durability/speed
        cache_size_mb: 128,                   // Larger cache
        busy_timeout_ms: 10000,               // Handle contention
        ..Default::default()
    };

    // Optimize for read performance
    let read_config = SqliteConfig {
        cache_size_mb: 256,            // Very large cache
        temp_store: TempStore::Memory, // In-memory temp tables
        mmap_size_mb: 512,             // Memory-mapped I/O
        ..Default::default()
    };

    for config in [fast_config, read_config] {
        let folder = folder();
        let database_path = folder.path().join("traces.db").to_str().unwrap().to_string();
        works(&SqliteStorage::with_config(SqliteConfig { database_path, ..config }).await?).await;
    }
    Ok(())
}
