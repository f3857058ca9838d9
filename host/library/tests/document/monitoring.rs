//! The page's 'Monitoring Storage Performance', on every backend that the page names and that needs no server of its own.

use std::sync::Arc;
use std::time::Duration;

use reflow_tracing::storage::{MemoryStorage, StorageBackend, StorageError};
use reflow_tracing::{FlowTrace, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_conformance::Oracle;

use super::works;

/// The page's example of metrics, on a store in use.
async fn tells_its_metrics(storage: impl StorageBackend) -> Result<(), StorageError> {
    works(&storage).await;

    use reflow_tracing::storage::StorageMetrics;

    let metrics = storage.get_metrics().await?;
    println!("Storage performance:");
    println!("  Write latency: {}ms", metrics.avg_write_latency_ms);
    println!("  Read latency: {}ms", metrics.avg_read_latency_ms);
    println!("  Storage size: {}MB", metrics.storage_size_mb);
    println!("  Query performance: {}ms", metrics.avg_query_latency_ms);

    // The page imports the type and leaves it to the compiler.
    let metrics: StorageMetrics = metrics;
    for latency in [metrics.avg_write_latency_ms, metrics.avg_read_latency_ms, metrics.avg_query_latency_ms] {
        assert!(latency > 0.0, "{metrics:?}");
    }
    assert!(metrics.storage_size_mb > 0.0, "{metrics:?}");
    assert_eq!((metrics.writes.calls, metrics.reads.calls, metrics.queries.calls), (2, 2, 1));
    assert!(metrics.writes.p50_ms <= metrics.writes.p99_ms && metrics.writes.p99_ms > 0.0, "{metrics:?}");
    Ok(())
}

#[tokio::test]
async fn memory_storage_tells_its_metrics() -> Result<(), StorageError> {
    tells_its_metrics(MemoryStorage::new()).await
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_storage_tells_its_metrics() -> Result<(), StorageError> {
    let folder = tempfile::tempdir().unwrap();
    tells_its_metrics(reflow_tracing::storage::SqliteStorage::new(folder.path().join("traces.db")).await?).await
}

#[cfg(all(feature = "postgres", unix))]
#[tokio::test]
async fn postgres_storage_tells_its_metrics() -> Result<(), StorageError> {
    let server = crate::servers::Postgres::shared();
    tells_its_metrics(reflow_tracing::storage::PostgresStorage::with_config(crate::postgres::config(&server)).await?)
        .await
}

#[cfg(all(feature = "clickhouse", unix))]
#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_storage_tells_its_metrics() -> Result<(), StorageError> {
    let server = crate::servers::ClickHouse::shared();
    let config = crate::clickhouse::config(&server);
    tells_its_metrics(reflow_tracing::storage::ClickHouseStorage::with_config(config).await?).await
}

/// A backend of one's own: six methods, and a store that can be told to be away.
#[derive(Default)]
struct Own {
    oracle: std::sync::Mutex<Oracle>,
    away: std::sync::atomic::AtomicBool,
    asked: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl StorageBackend for Own {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.oracle.lock().unwrap().store_trace(trace);
        Ok(())
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        Ok(self.oracle.lock().unwrap().trace(trace_id))
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.oracle.lock().unwrap().query(&query))
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.oracle.lock().unwrap().store_event(trace_id, event);
        Ok(())
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        Ok(self.oracle.lock().unwrap().events(trace_id))
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.asked.notify_one();
        match self.away.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(StorageError::Unavailable("told to be".into())),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_backend_of_ones_own_is_measured_by_the_layer() -> Result<(), StorageError> {
    use reflow_tracing::storage::layers::metrics::Metered;

    let storage = Metered::around(Own::default());
    works(&storage).await;
    let metrics = storage.get_metrics().await?;
    assert!(metrics.avg_write_latency_ms > 0.0, "{metrics:?}");
    // Its size is nothing that six methods tell.
    assert!(metrics.storage_size_mb.is_nan() && metrics.storage_bytes.is_none(), "{metrics:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn health_is_looked_at_regularly() {
    let own = Arc::new(Own::default());
    let storage = own.clone();

    // Regular health checks
    let checks = tokio::spawn(async move {
        loop {
            match storage.health_check().await {
                Ok(_) => println!("Storage healthy"),
                Err(e) => eprintln!("Storage unhealthy: {}", e),
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    });

    own.asked.notified().await;
    own.away.store(true, std::sync::atomic::Ordering::SeqCst);
    let (begun, minute) = (tokio::time::Instant::now(), Duration::from_secs(60));
    own.asked.notified().await;
    own.asked.notified().await;
    assert!(begun.elapsed() >= minute && !checks.is_finished(), "{:?}", begun.elapsed());
    checks.abort();
}
