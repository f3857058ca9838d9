//! Reloads a plugin when its file changes.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use reflow_tracing_storage::StorageError;

use super::Supervisor;
use crate::policy::PluginConfig;
use crate::runtime::PluginRuntime;
use reflow_tracing_storage::task::{Supervised, TaskHealth};

/// Polling interval. Polling works on every file system, including network file systems and mounted volumes.
const POLL: Duration = Duration::from_millis(250);
/// Delay before the next attempt after a transient error, such as an unreachable database.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Watches a file until it is dropped.
pub(crate) struct Watch(Supervised);

impl Watch {
    /// Reloads the plugin whenever `file` changes.
    pub(crate) fn start(
        supervisor: &Arc<Supervisor>,
        runtime: PluginRuntime,
        file: PathBuf,
        config: PluginConfig,
    ) -> Self {
        let supervisor = Arc::downgrade(supervisor);
        Self(Supervised::start("watching the plugin's file", move || {
            let (supervisor, runtime) = (supervisor.clone(), runtime.clone());
            let (file, config) = (file.clone(), config.clone());
            async move { follow(&supervisor, &runtime, &file, &config).await }
        }))
    }

    /// The health of the task.
    pub(crate) fn health(&self) -> TaskHealth {
        self.0.health()
    }
}

/// Identifies a version of the file without reading it. Builds that are reproducible give every file the same time, so there is
/// also what only the file system sets.
type Stamp = Option<(SystemTime, u64, Identity)>;

/// The device, the file in it, and when the file or its metadata were changed last.
#[cfg(unix)]
type Identity = (u64, u64, i64, i64);

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

/// When the file was created.
#[cfg(not(unix))]
type Identity = Option<SystemTime>;

#[cfg(not(unix))]
fn identity(metadata: &Metadata) -> Identity {
    metadata.created().ok()
}

async fn stamp(file: &Path) -> Stamp {
    let file = file.to_owned();
    let stamp = tokio::task::spawn_blocking(move || {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), identity(&metadata)))
    });
    stamp.await.ok().flatten()
}

async fn follow(supervisor: &Weak<Supervisor>, runtime: &PluginRuntime, file: &Path, config: &PluginConfig) {
    // `None`, because the file may have changed since it was loaded.
    let mut seen: Option<Stamp> = None;
    let mut before = stamp(file).await;
    loop {
        tokio::time::sleep(POLL).await;
        let now = stamp(file).await;
        // While the file is being written, wait until it is complete.
        let settled = now == before;
        before = now;
        if !settled || seen == Some(now) {
            continue;
        }
        seen = Some(now);
        let Some(plugin) = supervisor.upgrade() else {
            return;
        };
        if now.is_none() {
            tracing::warn!(plugin = plugin.plugin(), "{} was deleted; the running version stays", file.display());
            continue;
        }
        match take_over(&plugin, runtime, file, config).await {
            Ok(()) => {}
            Err(error) => {
                let problem = format!("the changed file was refused; the running version stays: {error}");
                tracing::warn!(plugin = plugin.plugin(), "{problem}");
                plugin.metrics.failed_reloads.fetch_add(1, Relaxed);
                plugin.version.lock().unwrap_or_else(PoisonError::into_inner).failed_reload = Some(problem);
                if error.is_retryable() {
                    drop(plugin);
                    tokio::time::sleep(RETRY_DELAY).await;
                    seen = None;
                }
            }
        }
    }
}

async fn take_over(
    plugin: &Supervisor,
    runtime: &PluginRuntime,
    file: &Path,
    config: &PluginConfig,
) -> Result<(), StorageError> {
    let component = runtime.compile(plugin.plugin(), file, config).await?;
    {
        let mut version = plugin.version.lock().unwrap_or_else(PoisonError::into_inner);
        if version.sha256 == component.0.sha256 {
            version.failed_reload = None;
            return Ok(());
        }
    }
    let sha256 = component.0.sha256.clone();
    plugin.replace(component.0).await?;
    tracing::info!(plugin = plugin.plugin(), sha256, "a new version took over");
    Ok(())
}
