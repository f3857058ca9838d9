//! The paths are in a temporary folder, and the URL is that of the test's own server.

use reflow_tracing::storage::*;

#[cfg(all(feature = "postgres", unix))]
#[tokio::test]
async fn traces_are_migrated_from_sqlite_to_postgresql() -> Result<(), StorageError> {
    let server = crate::servers::Postgres::start();
    let (folder, url) = (tempfile::tempdir().unwrap(), server.url("postgres"));
    let path = folder.path().join("traces.db");
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
    // It works for every backend, also for one that is known only at run time.
    let storage: std::sync::Arc<dyn StorageBackend> = std::sync::Arc::new(MemoryStorage::new());
    storage.import_from_file(backup_path).await?;
    storage.export_to_file(backup_path).await?;
    assert_eq!(storage.query_traces(TraceQuery::default()).await?, [trace]);
    Ok(())
}
