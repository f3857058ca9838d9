//! The URL is that of the test's own server, and each test has a schema of its own. The page's SQL is in `crate::postgres`.

use reflow_tracing::storage::*;

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
        // The page's next example has more fields, and a struct expression needs all of them.
        ..Default::default()
    };

    let storage = PostgresStorage::with_config(config).await?;

    works(&storage).await;
    Ok(())
}

#[tokio::test]
async fn postgres_storage_manages_partitions() -> Result<(), StorageError> {
    let server = Postgres::shared();

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

    // A trace from now: one that is thirty days old has expired.
    let trace = FlowTrace { start_time: chrono::Utc::now(), ..FlowTrace::default() };
    storage.store_trace(trace.clone()).await?;
    assert_eq!(storage.get_trace(trace.trace_id).await?, Some(trace));
    Ok(())
}
