//! A plugin at work, whatever becomes of its instances and its file.
//!
//! Every call goes through here. One that breaks an instance is tried once more on a fresh one; a plugin that keeps
//! breaking is left alone for a while; a new version takes over between two calls.

mod breaker;
mod figures;
mod reload;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use reflow_tracing_storage::StorageError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::bindings::PluginPre;
use crate::component::Compiled;
use crate::function::Function;
use crate::instance::Instance;
use crate::runtime::pool::{Called, Failure, FailureKind, Pool};
use breaker::Breaker;
pub(crate) use figures::Figures;
pub use figures::{LatencyBucket, PluginCalls, PluginErrors};
pub(crate) use reload::Watch;

pub(crate) struct Supervisor {
    name: Arc<str>,
    pool: RwLock<Arc<Pool>>,
    breaker: Breaker,
    figures: Arc<Figures>,
    version: Mutex<Version>,
}

/// What is known of the version at work.
#[derive(Clone)]
struct Version {
    sha256: String,
    from_cache: bool,
    /// Why the newest file is not at work.
    failed_reload: Option<String>,
}

/// How a plugin is and what it did since the process started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginReport {
    /// Its name in the configuration.
    pub name: String,
    /// `ok`, or what is wrong.
    pub health: String,
    /// Whether it is called. Not so while it is left alone, after failures in a row.
    pub called: bool,
    /// The digest of the file that is at work, in hexadecimal.
    pub sha256: String,
    /// Whether its compiled code came from the cache.
    pub compiled_code_from_cache: bool,
    /// Calls of all functions.
    #[serde(flatten)]
    pub all: PluginCalls,
    /// Calls by function.
    pub functions: std::collections::BTreeMap<String, PluginCalls>,
    /// Calls that did not do their work.
    pub errors: PluginErrors,
    /// Calls that were tried a second time.
    pub retries: u64,
    /// Instances that are at work on a call now.
    pub instances_busy: usize,
    /// Instances that wait for the next call.
    pub instances_idle: usize,
    /// Instances that were made.
    pub instances_made: u64,
    /// How long it took to make them.
    pub making: PluginCalls,
    /// How long it took them to open, after they were made.
    pub opening: PluginCalls,
    /// Instances that were thrown away, since they trapped or their time was up. Each is made anew when it is needed.
    pub restarts: u64,
    /// Instances that were ended after a call, since their memory had grown.
    pub instances_recycled: u64,
    /// Linear memory of all instances.
    pub memory_bytes: usize,
    /// New versions that took over while the process ran.
    pub reloads: u64,
    /// New versions that were refused.
    pub failed_reloads: u64,
}

impl Supervisor {
    pub(crate) fn new(pool: Pool, figures: Arc<Figures>, compiled: &Compiled) -> Self {
        Self {
            name: Arc::clone(&pool.plugin),
            pool: RwLock::new(Arc::new(pool)),
            breaker: Breaker::default(),
            figures,
            version: Mutex::new(Version::of(compiled)),
        }
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.name
    }

    /// Calls `function`: on an idle instance or a new one, within the time that a call may take. `call` gives what to run,
    /// and gives it once more when that breaks its instance.
    pub(crate) async fn call<T, R>(&self, function: Function, call: impl Fn() -> R) -> Result<T, StorageError>
    where
        R: AsyncFnOnce(&mut Instance) -> Called<T>,
    {
        let admission = self.breaker.admit().map_err(|problem| {
            self.figures.not_called();
            StorageError::Unavailable(format!("plugin `{}`: {problem}", self.name))
        })?;
        let begun = Instant::now();
        let pool = self.pool();
        let deadline = pool.deadline(begun);
        let mut result = pool.call(function, deadline, call()).await;
        if let Err(Failure { kind: FailureKind::Trapped, .. }) = result
            && function.is_idempotent()
        {
            self.figures.failed(FailureKind::Trapped);
            self.figures.retries.fetch_add(1, Relaxed);
            // What took over meanwhile may well do better.
            result = self.pool().call(function, deadline, call()).await;
        }
        self.figures.called(function, begun.elapsed());
        match result {
            Ok(answer) => {
                admission.succeeded();
                Ok(answer)
            }
            Err(Failure { kind, error }) => {
                self.figures.failed(kind);
                if !kind.is_breakdown() {
                    if kind == FailureKind::Refused {
                        admission.succeeded();
                    }
                } else if let Some(pause) = admission.failed(&error.to_string()) {
                    tracing::warn!(plugin = &*self.name, "it keeps failing and is left alone for {pause:?}: {error}");
                }
                Err(error)
            }
        }
    }

    pub(crate) fn report(&self) -> PluginReport {
        let figures = &self.figures;
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let problem = self.breaker.problem();
        let called = problem.is_none();
        let making = figures.making();
        let health = problem.or(version.failed_reload).unwrap_or_else(|| "ok".into());
        PluginReport {
            name: self.name.to_string(),
            health,
            called,
            sha256: version.sha256,
            compiled_code_from_cache: version.from_cache,
            all: figures.all(),
            functions: figures.functions(),
            errors: figures.errors(),
            retries: figures.retries.load(Relaxed),
            instances_busy: figures.instances_busy.load(Relaxed),
            instances_idle: figures.instances_idle.load(Relaxed),
            instances_made: making.calls,
            making,
            opening: figures.opening(),
            restarts: figures.instances_discarded.load(Relaxed),
            instances_recycled: figures.instances_recycled.load(Relaxed),
            memory_bytes: figures.memory_bytes.load(Relaxed),
            reloads: figures.reloads.load(Relaxed),
            failed_reloads: figures.failed_reloads.load(Relaxed),
        }
    }

    /// Lets another version take over, once it has shown that it works. Calls that are under way end on the old one.
    async fn replace(&self, compiled: Compiled) -> Result<(), StorageError> {
        let candidate = Arc::new(self.pool().successor(PluginPre::clone(&compiled.component)));
        let check = async |Instance { store, exports }: &mut Instance| {
            exports.reflow_storage_backend().call_health_check(store).await
        };
        candidate
            .call(Function::HealthCheck, candidate.deadline(Instant::now()), check)
            .await
            .map_err(|Failure { error, .. }| error)?;
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Version::of(&compiled);
        *self.pool.write().unwrap_or_else(PoisonError::into_inner) = candidate;
        self.breaker.reset();
        self.figures.reloads.fetch_add(1, Relaxed);
        Ok(())
    }

    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets no call in any more.
    pub(crate) fn close(&self) {
        self.pool().close();
    }
}

impl Version {
    fn of(compiled: &Compiled) -> Self {
        Self { sha256: compiled.sha256.clone(), from_cache: compiled.from_cache, failed_reload: None }
    }
}
