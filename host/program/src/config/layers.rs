//! From the configuration to the layers around a store. Their order is fixed here.

use std::sync::Arc;

use super::{Config, OpenError, StorageConfig};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing::storage::layers::retry::{RetryConfig, Retrying};
use reflow_tracing::storage::layers::spool::Spool;
use reflow_tracing::storage::layers::timeout::TimeLimited;

/// The backends that can't be away.
const LOCAL: [&str; 2] = ["memory", "sqlite"];

/// Puts the layers that `config` asks for around a backend, which is measured: time limit, retries, spool.
pub(super) async fn around(
    mut backend: Arc<dyn StorageBackend>,
    name: &str,
    config: &StorageConfig,
) -> Result<Arc<dyn StorageBackend>, OpenError> {
    if !config.call_timeout.is_zero() {
        backend = Arc::new(TimeLimited::around(backend, config.call_timeout));
    }
    if let Some(spool) = &config.spool {
        if config.retries.is_some_and(|retries| retries > 0) {
            return Err(OpenError::Unsuitable(
                "`retries` and `spool` in `[storage]` exclude each other: what fails while the backend is away is spooled, not \
                 tried again. Remove one of them"
                    .into(),
            ));
        }
        if LOCAL.contains(&name) {
            return Err(OpenError::Unsuitable(format!(
                "`spool` in `[storage]` is for backends that can be away; `{name}` can't. Remove it"
            )));
        }
        return match Spool::open(backend, name, spool).await {
            Ok(spool) => Ok(Arc::new(spool)),
            Err(error) => Err(OpenError::Unsuitable(error.to_string())),
        };
    }
    let default = if LOCAL.contains(&name) { 0 } else { RetryConfig::default().retries };
    match config.retries.unwrap_or(default) {
        0 => {}
        retries => backend = Arc::new(Retrying::around(backend, &RetryConfig { retries, ..RetryConfig::default() })),
    }
    Ok(backend)
}

impl Config {
    /// Refuses a policy of retention that the backend can't keep, as far as that is known without opening it.
    pub fn check_retention(&self) -> Result<(), OpenError> {
        if self.storage.backend == "postgres"
            && self.storage.retention.max_size_mb.is_some()
            && !self.storage.postgres.enable_partitioning
        {
            return Err(OpenError::Unsuitable(
            "`max_size_mb` in `[storage.retention]`: PostgreSQL keeps the space of deleted rows for new ones, so the tables do \
             not get smaller. Set `enable_partitioning = true` in `[storage.postgres]`, whose partitions are dropped, or keep \
             the store to `max_age` or `max_traces`"
                .into(),
        ));
        }
        Ok(())
    }
}
