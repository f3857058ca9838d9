//! Paths and URLs are those of a temporary folder and of the test's own server; otherwise they are the page's.

use reflow_tracing::storage::{MemoryStorage, StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{FlowTrace, TraceQuery};

#[cfg(all(feature = "postgres", unix))]
#[tokio::test]
async fn traces_are_migrated_from_sqlite_to_postgresql() -> Result<(), StorageError> {
    let server = crate::servers::Postgres::start();
    let (folder, url) = (tempfile::tempdir().unwrap(), server.url("postgres"));
    let path = folder.path().join("traces.db");
    // The page forgets this import.
    use reflow_tracing::storage::{PostgresStorage, SqliteStorage};
    let trace = FlowTrace::default();
    SqliteStorage::new(&path).await?.store_trace(trace.clone()).await?;

    use reflow_tracing::migration::StorageMigrator;

    // Migrate from SQLite to PostgreSQL
    let migrator = StorageMigrator::new(
        SqliteStorage::new(path.to_str().unwrap()).await?,
        PostgresStorage::new(url.as_str()).await?,
    );

    migrator.migrate_all_traces().await?;

    let target = PostgresStorage::new(url.as_str()).await?;
    assert_eq!(target.query_traces(TraceQuery::default()).await?, [trace]);
    Ok(())
}

#[tokio::test]
async fn a_store_is_backed_up_to_a_file_and_restored() -> Result<(), StorageError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces_backup.json");
    // The page forgets this import.
    use reflow_tracing::migration::Backup;
    let storage = MemoryStorage::new();
    let trace = FlowTrace::default();
    storage.store_trace(trace.clone()).await?;

    // Backup to file
    let backup_path = path.to_str().unwrap();
    storage.export_to_file(backup_path).await?;

    storage.delete_trace(trace.trace_id).await?;

    // Restore from file
    storage.import_from_file(backup_path).await?;

    assert_eq!(storage.query_traces(TraceQuery::default()).await?, std::slice::from_ref(&trace));
    // Whatever the backend, also one that is known at run time only.
    let storage: std::sync::Arc<dyn StorageBackend> = std::sync::Arc::new(MemoryStorage::new());
    storage.import_from_file(backup_path).await?;
    storage.export_to_file(backup_path).await?;
    assert_eq!(storage.query_traces(TraceQuery::default()).await?, [trace]);
    Ok(())
}
