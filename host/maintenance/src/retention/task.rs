use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::MissedTickBehavior;

use super::{RetentionPolicy, retain};
use reflow_tracing_storage::StorageBackend;
use reflow_tracing_storage::task::{Supervised, TaskHealth};

/// Applies a policy to a store until it is dropped.
pub struct RetentionTask(Supervised);

impl RetentionTask {
    /// Applies the policy now and then at every interval. Logs errors, and tries again at the next interval. Must be called
    /// within a Tokio runtime.
    pub fn start(storage: Arc<dyn StorageBackend>, policy: RetentionPolicy, interval: Duration) -> Self {
        Self(Supervised::start("retention", move || {
            let storage = storage.clone();
            async move {
                let mut turns = tokio::time::interval(interval.max(Duration::from_millis(1)));
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    turns.tick().await;
                    match AssertUnwindSafe(retain(&*storage, &policy, false)).catch_unwind().await {
                        Ok(Ok(report)) if report.deleted() > 0 => tracing::info!("retention deleted {report}"),
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => tracing::warn!("retention failed and will be tried again: {error}"),
                        Err(_) => tracing::error!("the backend panicked during retention; the log says why"),
                    }
                }
            }
        }))
    }

    /// The health of the task.
    pub fn health(&self) -> TaskHealth {
        self.0.health()
    }
}
