//! Warm instances of one version of a plugin, and what surrounds a call on one.
//!
//! At most `limits.instances` calls run at a time, each on an instance of its own; an instance whose call came to an end
//! is kept for the next. One that trapped, or whose time was up, is thrown away with all that it held: the damage is its
//! own call's.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures::poll;
use reflow_tracing_storage::StorageError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use wasmtime::Trap;

use super::supervisor::Figures;
use crate::bindings::PluginPre;
use crate::bindings::reflow::storage::types;
use crate::capabilities::Granted;
use crate::convert;
use crate::function::Function;
use crate::instance::{self, Instance, InstanceState};
use crate::policy::Limits;

/// What a call into a plugin gives: a trap, an error of the plugin's own, or an answer.
pub(crate) type Called<T> = wasmtime::Result<Result<T, types::StorageError>>;

/// The instances of one version.
pub(crate) struct Pool {
    pub plugin: Arc<str>,
    component: PluginPre<InstanceState>,
    /// What the plugin is given when it is opened: a JSON object.
    config: String,
    limits: Arc<Limits>,
    granted: Arc<Granted>,
    figures: Arc<Figures>,
    idle: Mutex<Vec<Instance>>,
    permits: Semaphore,
}

/// Why a call did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub kind: FailureKind,
    pub error: StorageError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No instance came free in time; nothing was called.
    Busy,
    /// The instance broke down.
    Trapped,
    /// The call's time was up.
    TimedOut,
    /// The plugin answered with an error.
    Refused,
}

impl FailureKind {
    /// Whether it says that the plugin itself is broken.
    pub(crate) fn is_breakdown(self) -> bool {
        matches!(self, Self::Trapped | Self::TimedOut)
    }
}

impl Pool {
    pub(crate) fn new(
        plugin: Arc<str>,
        component: PluginPre<InstanceState>,
        config: String,
        limits: Arc<Limits>,
        granted: Arc<Granted>,
        figures: Arc<Figures>,
    ) -> Self {
        let permits = Semaphore::new(limits.instances);
        Self { plugin, component, config, limits, granted, figures, idle: Mutex::default(), permits }
    }

    /// The same plugin in another version.
    pub(crate) fn successor(&self, component: PluginPre<InstanceState>) -> Self {
        Self::new(
            Arc::clone(&self.plugin),
            component,
            self.config.clone(),
            Arc::clone(&self.limits),
            Arc::clone(&self.granted),
            Arc::clone(&self.figures),
        )
    }

    /// When a call that begins at `begun` must be done.
    pub(crate) fn deadline(&self, begun: Instant) -> Instant {
        begun + self.limits.call_timeout()
    }

    /// Calls `function` on an instance that no one else uses.
    pub(crate) async fn call<T>(
        &self,
        function: Function,
        deadline: Instant,
        run: impl AsyncFnOnce(&mut Instance) -> Called<T>,
    ) -> Result<T, Failure> {
        let Some(permit) = within(deadline, self.permits.acquire()).await else {
            return Err(self.busy(format!(
                "all {} instances of plugin `{}` were busy for {} ms; plugins.{1}.limits.instances allows for more",
                self.limits.instances, self.plugin, self.limits.call_timeout_ms
            )));
        };
        let _permit = permit.map_err(|_| self.busy(format!("plugin `{}` is closed", self.plugin)))?;
        let _busy = Count::of(&self.figures.instances_busy);
        let result = within(deadline, async {
            let mut instance = match self.take() {
                Some(instance) => instance,
                None => self.open().await?,
            };
            let cpu = instance.cpu();
            let answer = cpu.measure(run(&mut instance)).await.map_err(|error| self.broke(function, &error))?;
            // The instance came to an end in good order, whatever its answer.
            self.keep(instance);
            answer.map_err(|error| self.refused(function, error))
        })
        .await;
        result.unwrap_or_else(|| {
            self.figures.instances_discarded.fetch_add(1, Relaxed);
            let reason = format!(
                "it took longer than {} ms (plugins.{}.limits.call_timeout_ms) and was stopped",
                self.limits.call_timeout_ms, self.plugin
            );
            tracing::warn!(plugin = &*self.plugin, call = function.name(), "{reason}; its instance was discarded");
            Err(self.failed(FailureKind::TimedOut, function, reason))
        })
    }

    /// A new instance, opened.
    async fn open(&self) -> Result<Instance, Failure> {
        let begun = Instant::now();
        let state = InstanceState::new(
            Arc::clone(&self.plugin),
            Arc::clone(&self.limits),
            Arc::clone(&self.granted),
            Arc::clone(&self.figures.memory_bytes),
        );
        let mut instance =
            Instance::new(&self.component, state).await.map_err(|error| self.broke(Function::Open, &error))?;
        let made = Instant::now();
        self.figures.made(made - begun);
        let (cpu, backend) = (instance.cpu(), instance.exports.reflow_storage_backend());
        let info = cpu
            .measure(backend.call_open(&mut instance.store, &self.config))
            .await
            .map_err(|error| self.broke(Function::Open, &error))?
            .map_err(|error| self.refused(Function::Open, error))?;
        self.figures.opened(made.elapsed());
        tracing::debug!(plugin = &*self.plugin, name = info.name, version = info.version, "opened an instance");
        Ok(instance)
    }

    /// What a trap means to the caller.
    fn broke(&self, function: Function, error: &wasmtime::Error) -> Failure {
        let explained = instance::explain(error, &self.plugin, &self.limits);
        let reason = match error.downcast_ref::<Trap>() {
            _ if explained.is_some() => explained.unwrap_or_default(),
            Some(Trap::UnreachableCodeReached) => "it stopped itself (a panic, an abort or an `unreachable`)".into(),
            Some(Trap::StackOverflow) => "it recursed too deeply and ran out of stack".into(),
            Some(trap) => format!("it trapped: {trap}"),
            None => error.root_cause().to_string(),
        };
        self.figures.instances_discarded.fetch_add(1, Relaxed);
        tracing::warn!(
            plugin = &*self.plugin,
            call = function.name(),
            "{reason}; its instance was discarded: {error:#}"
        );
        self.failed(FailureKind::Trapped, function, reason)
    }

    fn refused(&self, function: Function, error: types::StorageError) -> Failure {
        Failure { kind: FailureKind::Refused, error: convert::error(&self.plugin, function.name(), error) }
    }

    fn busy(&self, message: String) -> Failure {
        Failure { kind: FailureKind::Busy, error: StorageError::Unavailable(message) }
    }

    fn failed(&self, kind: FailureKind, function: Function, reason: String) -> Failure {
        let plugin = self.plugin.to_string();
        Failure { kind, error: StorageError::Plugin { plugin, call: function.name(), reason, retryable: true } }
    }

    fn take(&self) -> Option<Instance> {
        let instance = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if instance.is_some() {
            self.figures.instances_idle.fetch_sub(1, Relaxed);
        }
        instance
    }

    /// Keeps an instance for the next call, unless its memory has grown too large to be worth it: linear memory never
    /// shrinks, and some language runtimes leak.
    fn keep(&self, instance: Instance) {
        if instance.store.data().memory() > self.limits.recycle_bytes() {
            self.figures.instances_recycled.fetch_add(1, Relaxed);
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed meanwhile: nobody would come for it.
        if !self.permits.is_closed() {
            idle.push(instance);
            self.figures.instances_idle.fetch_add(1, Relaxed);
        }
    }

    /// Lets no call in any more, and ends the instances that are idle.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.drain();
    }

    fn drain(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        self.figures.instances_idle.fetch_sub(idle.len(), Relaxed);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.drain();
    }
}

/// What `work` comes to, if it does so before the deadline. A timer is set only for what is not done at once, as most calls
/// are.
async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    match poll!(work.as_mut()) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => timeout_at(deadline, work).await.ok(),
    }
}

/// Counts one for as long as it lives.
struct Count<'a>(&'a AtomicUsize);

impl<'a> Count<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
