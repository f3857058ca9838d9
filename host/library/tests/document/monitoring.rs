//! The page's section "Monitoring Storage Performance", on every built-in backend.

use std::sync::Arc;

use reflow_tracing::storage::*;
use reflow_tracing_conformance::Oracle;

use super::works;

/// The page's example of metrics, on a store in use.
async fn reports_its_metrics(storage: impl StorageBackend) -> Result<(), StorageError> {
    works(&storage).await;

    use reflow_tracing::storage::StorageMetrics;

    let metrics = storage.get_metrics().await?;
    println!("Storage performance:");
    println!("  Write latency: {}ms", metrics.avg_write_latency_ms);
    println!("  Read latency: {}ms", metrics.avg_read_latency_ms);
    println!("  Storage size: {}MB", metrics.storage_size_mb);
    println!("  Query performance: {}ms", metrics.avg_query_latency_ms);

    // The page imports the type and doesn't use it.
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
async fn memory_storage_reports_its_metrics() -> Result<(), StorageError> {
    reports_its_metrics(MemoryStorage::new()).await
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_storage_reports_its_metrics() -> Result<(), StorageError> {
    let folder = tempfile::tempdir().unwrap();
    reports_its_metrics(SqliteStorage::new(folder.path().join("traces.db")).await?).await
}

#[cfg(all(feature = "postgres", unix))]
#[tokio::test]
async fn postgres_storage_reports_its_metrics() -> Result<(), StorageError> {
    let server = crate::servers::Postgres::shared();
    reports_its_metrics(PostgresStorage::with_config(crate::postgres::config(&server)).await?).await
}

#[cfg(all(feature = "clickhouse", unix))]
#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_storage_reports_its_metrics() -> Result<(), StorageError> {
    let server = crate::servers::ClickHouse::shared();
    let config = crate::clickhouse::config(&server);
    reports_its_metrics(ClickHouseStorage::with_config(config).await?).await
}

/// A custom backend: the six required methods, with a switch that makes it unavailable.
#[derive(Default)]
struct Custom {
    oracle: std::sync::Mutex<Oracle>,
    away: std::sync::atomic::AtomicBool,
    checked: tokio::sync::Notify,
}

#[async_trait]
impl StorageBackend for Custom {
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
        self.checked.notify_one();
        match self.away.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(StorageError::Unavailable("switched off".into())),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn the_metrics_layer_measures_a_custom_backend() -> Result<(), StorageError> {
    use reflow_tracing::storage::layers::metrics::Metered;

    let storage = Metered::around(Custom::default());
    works(&storage).await;
    let metrics = storage.get_metrics().await?;
    assert!(metrics.avg_write_latency_ms > 0.0, "{metrics:?}");
    // The six required methods don't report a size.
    assert!(metrics.storage_size_mb.is_nan() && metrics.storage_bytes.is_none(), "{metrics:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_health_loop_checks_every_thirty_seconds() {
    let custom = Arc::new(Custom::default());
    let storage = custom.clone();

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

    custom.checked.notified().await;
    custom.away.store(true, std::sync::atomic::Ordering::SeqCst);
    let (start, minute) = (tokio::time::Instant::now(), Duration::from_secs(60));
    custom.checked.notified().await;
    custom.checked.notified().await;
    assert!(start.elapsed() >= minute && !checks.is_finished(), "{:?}", start.elapsed());
    checks.abort();
}
