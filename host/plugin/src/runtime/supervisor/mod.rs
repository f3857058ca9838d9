//! Supervises a plugin across failed instances and new versions.
//!
//! Every call goes through the [`Supervisor`]. It retries a call that trapped once, on a new instance. A circuit breaker stops
//! calls to a plugin that keeps failing. A new version takes over between two calls.

mod breaker;
pub(crate) mod maintenance;
pub(crate) mod reload;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use reflow_tracing_storage::StorageError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wasmtime::Store;

use crate::contract::function::Function;
use crate::runtime::call_metrics::{CallMetrics, PluginCalls, PluginErrors};
use crate::runtime::component::Compiled;
use crate::runtime::exports::{Exporting, Exports};
use crate::runtime::failure::{Failure, FailureKind};
use crate::runtime::instance::InstanceState;
use crate::runtime::pool::{Called, Pool};
use breaker::Breaker;

pub(crate) struct Supervisor {
    name: Arc<str>,
    pool: RwLock<Arc<Pool>>,
    breaker: Breaker,
    metrics: Arc<CallMetrics>,
    version: Mutex<Version>,
}

/// The running version.
#[derive(Clone)]
struct Version {
    sha256: String,
    from_cache: bool,
    /// Why the current file is not the running version.
    failed_reload: Option<String>,
}

/// The health of a plugin and the metrics of its calls since the process started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginReport {
    /// Its name in the configuration.
    pub name: String,
    /// `ok`, or the problem.
    pub health: String,
    /// Whether calls reach the plugin. False while the circuit breaker is open after repeated failures.
    pub called: bool,
    /// The SHA-256 of the running version's file, in hexadecimal.
    pub sha256: String,
    /// Whether its compiled code came from the cache.
    pub compiled_code_from_cache: bool,
    /// Calls of all functions.
    #[serde(flatten)]
    pub all: PluginCalls,
    /// Calls by function.
    pub functions: std::collections::BTreeMap<String, PluginCalls>,
    /// Failed calls.
    pub errors: PluginErrors,
    /// Calls that were retried.
    pub retries: u64,
    /// Instances that are running a call.
    pub instances_busy: usize,
    /// Instances that wait for the next call.
    pub instances_idle: usize,
    /// Instances created.
    pub instances_made: u64,
    /// Durations of their creation.
    pub making: PluginCalls,
    /// Durations of `open`, after creation.
    pub opening: PluginCalls,
    /// Instances discarded after a trap or a timeout. The next call creates a new one.
    pub restarts: u64,
    /// Instances replaced after a call because their memory had grown.
    pub instances_recycled: u64,
    /// Linear memory of all instances.
    pub memory_bytes: usize,
    /// New versions that took over while the process ran.
    pub reloads: u64,
    /// New versions that were refused.
    pub failed_reloads: u64,
}

impl Supervisor {
    pub(crate) fn new(pool: Pool, metrics: Arc<CallMetrics>, compiled: &Compiled) -> Self {
        Self {
            name: Arc::clone(&pool.plugin),
            pool: RwLock::new(Arc::new(pool)),
            breaker: Breaker::default(),
            metrics,
            version: Mutex::new(Version::of(compiled)),
        }
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.name
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Calls `function` on an idle or a new instance, within the time limit of a call. `call` creates the call, a second time
    /// for the retry.
    pub(crate) async fn call<T, R>(&self, function: Function, call: impl Fn() -> R) -> Result<T, StorageError>
    where
        R: AsyncFnOnce(&mut Store<InstanceState>, &Exports) -> Called<T>,
    {
        let admission = self.breaker.admit().map_err(|problem| {
            self.metrics.rejected();
            StorageError::Unavailable(format!("plugin `{}`: {problem}", self.name))
        })?;
        let begun = Instant::now();
        let pool = self.pool();
        let deadline = pool.deadline(begun);
        let mut result = pool.call(function, deadline, call()).await;
        if let Err(Failure { kind: FailureKind::Trapped, .. }) = result
            && function.is_idempotent()
        {
            self.metrics.failed(FailureKind::Trapped);
            self.metrics.retries.fetch_add(1, Relaxed);
            // Not `pool`: a new version may have taken over.
            result = self.pool().call(function, deadline, call()).await;
        }
        self.metrics.called(function, begun.elapsed());
        match result {
            Ok(answer) => {
                admission.succeeded();
                Ok(answer)
            }
            Err(Failure { kind, error }) => {
                self.metrics.failed(kind);
                if !kind.is_breakdown() {
                    if kind == FailureKind::Refused {
                        admission.succeeded();
                    }
                } else if let Some(pause) = admission.failed(&error.to_string()) {
                    tracing::warn!(
                        plugin = &*self.name,
                        "it keeps failing, so it is not called for {pause:?}: {error}"
                    );
                }
                Err(error)
            }
        }
    }

    pub(crate) fn report(&self) -> PluginReport {
        let metrics = &self.metrics;
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let problem = self.breaker.problem();
        let called = problem.is_none();
        let creation = metrics.creation();
        let health = problem.or(version.failed_reload).unwrap_or_else(|| "ok".into());
        PluginReport {
            name: self.name.to_string(),
            health,
            called,
            sha256: version.sha256,
            compiled_code_from_cache: version.from_cache,
            all: metrics.all(),
            functions: metrics.functions(),
            errors: metrics.errors(),
            retries: metrics.retries.load(Relaxed),
            instances_busy: metrics.instances_busy.load(Relaxed),
            instances_idle: metrics.instances_idle.load(Relaxed),
            instances_made: creation.calls,
            making: creation,
            opening: metrics.opening(),
            restarts: metrics.instances_discarded.load(Relaxed),
            instances_recycled: metrics.instances_recycled.load(Relaxed),
            memory_bytes: metrics.memory_bytes.load(Relaxed),
            reloads: metrics.reloads.load(Relaxed),
            failed_reloads: metrics.failed_reloads.load(Relaxed),
        }
    }

    /// Replaces the running version after a successful health check of the new one. Running calls complete on the old version.
    async fn replace(&self, compiled: Compiled) -> Result<(), StorageError> {
        let candidate = Arc::new(self.pool().successor(compiled.component.clone()));
        let deadline = candidate.deadline(Instant::now());
        candidate
            .call(Function::HealthCheck, deadline, async |store, plugin| {
                plugin.backend().call_health_check(store).await
            })
            .await
            .map_err(|Failure { error, .. }| error)?;
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Version::of(&compiled);
        *self.pool.write().unwrap_or_else(PoisonError::into_inner) = candidate;
        self.breaker.reset();
        self.metrics.reloads.fetch_add(1, Relaxed);
        Ok(())
    }

    /// The running version.
    pub(crate) fn component(&self) -> Exporting {
        self.pool().component.clone()
    }

    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Rejects new calls.
    pub(crate) fn close(&self) {
        self.pool().close();
    }
}

impl Version {
    fn of(compiled: &Compiled) -> Self {
        Self { sha256: compiled.sha256.clone(), from_cache: compiled.from_cache, failed_reload: None }
    }
}
