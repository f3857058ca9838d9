//! The URL is that of the test's own server. The page configures a cluster, so the test starts one.

use reflow_tracing::storage::*;

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
        // This configuration has a field more, `retention_days`, and a struct expression needs all of them.
        ..Default::default()
    };

    let storage = ClickHouseStorage::with_config(config).await?;

    works(&storage).await;
    Ok(())
}

#[tokio::test]
async fn clickhouse_storage_works_without_compression() -> Result<(), StorageError> {
    let server = ClickHouse::shared();

    let config = ClickHouseConfig { compression: CompressionMethod::None, ..crate::clickhouse::config(&server) };
    works(&ClickHouseStorage::with_config(config).await?).await;
    Ok(())
}
