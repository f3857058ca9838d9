//! The server is the test's own, so its URL stands where the page has one of an example; a schema of its own keeps each
//! test apart. The page's SQL is in `crate::postgres`.

use reflow_tracing::FlowTrace;
use reflow_tracing::storage::{StorageBackend, StorageError};

use super::works;
use crate::postgres::fresh_schema;
use crate::servers::Postgres;

#[tokio::test]
async fn postgres_storage_needs_a_url() -> Result<(), StorageError> {
    let server = Postgres::start();
    let url = server.url("postgres");

    use reflow_tracing::storage::PostgresStorage;

    let storage = PostgresStorage::new(url.as_str()).await?;

    works(&storage).await;
    Ok(())
}

#[tokio::test]
async fn postgres_storage_takes_a_configuration() -> Result<(), StorageError> {
    let server = Postgres::shared();

    // The page forgets this import.
    use reflow_tracing::storage::PartitionInterval;
    use reflow_tracing::storage::{PostgresConfig, PostgresStorage};

    let config = PostgresConfig {
        connection_url: server.url("postgres"),
        max_connections: 20,
        min_connections: 5,
        connection_timeout_ms: 5000,
        idle_timeout_ms: 600000,
        max_lifetime_ms: 1800000,
        schema_name: fresh_schema(),
        enable_partitioning: true,
        partition_interval: PartitionInterval::Daily,
        // The page's next example shows more fields than this one.
        ..Default::default()
    };

    let storage = PostgresStorage::with_config(config).await?;

    works(&storage).await;
    Ok(())
}

#[tokio::test]
async fn postgres_storage_manages_partitions() -> Result<(), StorageError> {
    let server = Postgres::shared();

    use reflow_tracing::storage::{PartitionInterval, PostgresConfig, PostgresStorage};

    // Automatic partition management
    let config = PostgresConfig {
        enable_partitioning: true,
        partition_interval: PartitionInterval::Daily,
        partition_retention_days: 30,
        auto_create_partitions: true,
        ..Default::default()
    };

    let config = PostgresConfig { connection_url: server.url("postgres"), schema_name: fresh_schema(), ..config };
    let storage = PostgresStorage::with_config(config).await?;

    // Of now: what is thirty days old has expired.
    let trace = FlowTrace { start_time: chrono::Utc::now(), ..FlowTrace::default() };
    storage.store_trace(trace.clone()).await?;
    assert_eq!(storage.get_trace(trace.trace_id).await?, Some(trace));
    Ok(())
}
