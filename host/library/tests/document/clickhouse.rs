//! The server is the test's own, so its address stands where the page has one of an example. The page's configuration is of a
//! cluster, so one runs here.

use reflow_tracing::storage::StorageError;

use super::works;
use crate::clickhouse::proxy::Proxy;
use crate::servers::ClickHouse;

#[tokio::test]
async fn clickhouse_storage_needs_a_url() -> Result<(), StorageError> {
    let server = ClickHouse::start();
    let url = server.url();

    use reflow_tracing::storage::ClickHouseStorage;

    let storage = ClickHouseStorage::new(url.as_str()).await?;

    works(&storage).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_storage_takes_a_configuration() -> Result<(), StorageError> {
    let servers: [ClickHouse; 2] = ClickHouse::start_cluster();
    let proxy = Proxy::start(servers.iter().map(ClickHouse::address).collect()).await;
    let url = proxy.url.as_str();

    // The page forgets this import.
    use reflow_tracing::storage::CompressionMethod;
    use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage};

    let config = ClickHouseConfig {
        url: url.to_string(),
        database: "tracing".to_string(),
        cluster: Some("cluster".to_string()),
        username: Some("default".to_string()),
        password: None,
        compression: CompressionMethod::LZ4,
        batch_size: 10000,
        flush_interval_ms: 5000,
        max_memory_usage: 1_000_000_000, // 1GB
        max_execution_time_ms: 300_000,  // 5 minutes
        // Beside the page's fields there is `retention_days`.
        ..Default::default()
    };

    let storage = ClickHouseStorage::with_config(config).await?;

    works(&storage).await;
    Ok(())
}

#[tokio::test]
async fn what_is_sent_may_be_compressed_or_not() -> Result<(), StorageError> {
    let server = ClickHouse::shared();

    use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage, CompressionMethod};

    let config = ClickHouseConfig { compression: CompressionMethod::None, ..crate::clickhouse::config(&server) };
    works(&ClickHouseStorage::with_config(config).await?).await;
    Ok(())
}
