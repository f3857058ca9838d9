//! The layers around a store, in their fixed order.

use std::sync::Arc;

use super::error::OpenError;
use super::settings::StorageConfig;
use reflow_tracing::storage::StorageBackend;
use reflow_tracing::storage::layers::retry::{RetryConfig, Retrying};
use reflow_tracing::storage::layers::spool::{Spool, SpoolConfig};
use reflow_tracing::storage::layers::timeout::TimeLimited;

/// Limits the time of each call to `backend`, which has metrics, and retries transient errors, as `config` says.
pub(super) fn limited_and_retried(backend: Arc<dyn StorageBackend>, config: &StorageConfig) -> Arc<dyn StorageBackend> {
    let backend = limited(backend, config);
    let default = if config.backend.is_local() { 0 } else { RetryConfig::default().retries };
    match config.retries.unwrap_or(default) {
        0 => backend,
        retries => Arc::new(Retrying::around(backend, &RetryConfig { retries, ..RetryConfig::default() })),
    }
}

/// Limits the time of each call to `backend`, and spools writes while it is unavailable. The spool replays them, so
/// nothing else retries.
pub(super) async fn limited_and_spooled(
    backend: Arc<dyn StorageBackend>,
    config: &StorageConfig,
    spool: &SpoolConfig,
) -> Result<Arc<dyn StorageBackend>, OpenError> {
    if config.retries.is_some_and(|retries| retries > 0) {
        return Err(OpenError::Unsuitable(
            "`retries` and `spool` in `[storage]` can't be combined: the spool replays failed writes. Remove one of them"
                .into(),
        ));
    }
    if config.backend.is_local() {
        return Err(OpenError::Unsuitable(format!(
            "`spool` in `[storage]` needs a backend that can become unavailable, and `{}` can't. Remove `spool`",
            config.backend
        )));
    }
    match Spool::open(limited(backend, config), config.backend.name(), spool).await {
        Ok(spool) => Ok(Arc::new(spool)),
        Err(error) => Err(OpenError::Unsuitable(error.to_string())),
    }
}

pub(super) fn limited(backend: Arc<dyn StorageBackend>, config: &StorageConfig) -> Arc<dyn StorageBackend> {
    if config.call_timeout.is_zero() { backend } else { Arc::new(TimeLimited::around(backend, config.call_timeout)) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use reflow_tracing::migration::{MigrationError, MigrationReport, StorageMigrator};
    use reflow_tracing::storage::conformance::faults::Faulty;
    use reflow_tracing::storage::layers::layer::Call;
    use reflow_tracing::storage::{MemoryStorage, StorageError};
    use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceQuery};

    use super::*;

    /// Migrates three traces into a store whose first write fails once with a transient error.
    async fn migrated(config: &StorageConfig) -> (Result<MigrationReport, MigrationError>, usize) {
        let source = Arc::new(MemoryStorage::new());
        for flow in ["a", "b", "c"] {
            source.store_trace(FlowTrace::new(FlowId::new(flow), FlowVersion::default())).await.unwrap();
        }
        let memory = Arc::new(MemoryStorage::new());
        let writes = AtomicUsize::new(0);
        let flaky = Faulty::around(Arc::clone(&memory)).before(move |attempt| {
            let is_write = matches!(attempt.call, Call::StoreTrace | Call::StoreTraces);
            let fails = is_write && writes.fetch_add(1, Ordering::Relaxed) == 0;
            async move { if fails { Err(StorageError::Unavailable("restarting".into())) } else { Ok(()) } }
        });
        let target = limited_and_retried(Arc::new(flaky), config);
        let outcome = StorageMigrator::shared(source, target).migrate_all_traces().await;
        (outcome, memory.query_traces(TraceQuery::default()).await.unwrap().len())
    }

    #[tokio::test]
    async fn a_migration_survives_a_transient_error() {
        let plugin = StorageConfig { backend: "redis".into(), ..StorageConfig::default() };
        let (outcome, stored) = migrated(&plugin).await;
        assert!(outcome.unwrap().is_complete());
        assert_eq!(stored, 3);
        let without_retries = StorageConfig { retries: Some(0), ..plugin };
        let error = migrated(&without_retries).await.0.unwrap_err();
        assert!(error.to_string().contains("restarting"), "{error}");
    }

    #[tokio::test]
    async fn a_spool_is_refused_with_retries_and_with_a_local_backend() {
        let folder = tempfile::tempdir().unwrap();
        let spool = SpoolConfig { dir: folder.path().to_owned(), max_size_mb: 1 };
        let refusal = async |config: &StorageConfig| {
            let memory = Arc::new(MemoryStorage::new());
            limited_and_spooled(memory, config, &spool).await.err().expect("an error").to_string()
        };
        let local = refusal(&StorageConfig::default()).await;
        assert!(local.contains("`spool` in `[storage]`") && local.contains("`sqlite`"), "{local}");
        let both = StorageConfig { backend: "postgres".into(), retries: Some(1), ..StorageConfig::default() };
        assert!(refusal(&both).await.contains("`retries` and `spool`"));
    }
}
