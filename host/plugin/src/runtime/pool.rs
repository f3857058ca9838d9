//! A pool of instances of one version of a plugin.
//!
//! At most `limits.instances` calls run at a time, each on its own instance. The pool reuses an instance after a completed
//! call. It discards one that trapped or timed out, with everything that the instance held, so a fault affects only the call
//! that hit it.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures::poll;
use reflow_tracing_storage::StorageError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use wasmtime::{Store, Trap};

use super::call_metrics::CallMetrics;
use super::failure::{Failure, FailureKind};
use crate::capabilities::granted::Granted;
use crate::contract::bindings::reflow::storage::types;
use crate::contract::convert;
use crate::contract::function::Function;
use crate::policy::Limits;
use crate::runtime::exports::{Exporting, Exports};
use crate::runtime::instance::{self, Instance, InstanceState};
use crate::runtime::output::Output;

/// The result of a call into a plugin: a trap, the plugin's own error, or an answer.
pub(crate) type Called<T> = wasmtime::Result<Result<T, types::StorageError>>;

/// The instances of one version.
pub(crate) struct Pool {
    pub plugin: Arc<str>,
    pub component: Exporting,
    /// The plugin's settings, passed to `open`: a JSON object.
    config: String,
    limits: Arc<Limits>,
    granted: Arc<Granted>,
    metrics: Arc<CallMetrics>,
    idle: Mutex<Vec<Instance>>,
    permits: Semaphore,
}

impl Pool {
    pub(crate) fn new(
        plugin: Arc<str>,
        component: Exporting,
        config: String,
        limits: Arc<Limits>,
        granted: Arc<Granted>,
        metrics: Arc<CallMetrics>,
    ) -> Self {
        let permits = Semaphore::new(limits.instances);
        Self { plugin, component, config, limits, granted, metrics, idle: Mutex::default(), permits }
    }

    /// A pool for another version of the same plugin.
    pub(crate) fn successor(&self, component: Exporting) -> Self {
        Self::new(
            Arc::clone(&self.plugin),
            component,
            self.config.clone(),
            Arc::clone(&self.limits),
            Arc::clone(&self.granted),
            Arc::clone(&self.metrics),
        )
    }

    /// The deadline of a call that starts at `start`.
    pub(crate) fn deadline(&self, start: Instant) -> Instant {
        start + self.limits.call_timeout()
    }

    /// Calls `function` with exclusive use of an instance.
    pub(crate) async fn call<T>(
        &self,
        function: Function,
        deadline: Instant,
        run: impl AsyncFnOnce(&mut Store<InstanceState>, &Exports) -> Called<T>,
    ) -> Result<T, Failure> {
        let Some(permit) = within(deadline, self.permits.acquire()).await else {
            return Err(self.busy(format!(
                "all {} instances of plugin `{}` were busy for {} ms; raise plugins.{1}.limits.instances",
                self.limits.instances, self.plugin, self.limits.call_timeout_ms
            )));
        };
        let _permit = permit.map_err(|_| self.busy(format!("plugin `{}` is closed", self.plugin)))?;
        let _busy = Count::of(&self.metrics.instances_busy);
        let result = within(deadline, async {
            let mut instance = match self.take() {
                Some(instance) => instance,
                None => self.open().await?,
            };
            let output = Arc::clone(&instance.store.data().output);
            output.forget();
            let cpu = instance.cpu();
            let answer = cpu
                .measure(run(&mut instance.store, &instance.exports))
                .await
                .map_err(|error| self.trapped(function, &error, &output))?;
            // The call completed, so the instance is reusable even if the answer is an error.
            self.put_back(instance);
            answer.map_err(|error| self.refused(function, error))
        })
        .await;
        result.unwrap_or_else(|| {
            self.metrics.instances_discarded.fetch_add(1, Relaxed);
            let reason = format!(
                "it took longer than {} ms (plugins.{}.limits.call_timeout_ms) and was stopped",
                self.limits.call_timeout_ms, self.plugin
            );
            tracing::warn!(plugin = &*self.plugin, call = function.name(), "{reason}; its instance was discarded");
            Err(self.failed(FailureKind::TimedOut, function, reason))
        })
    }

    /// Creates and opens an instance.
    async fn open(&self) -> Result<Instance, Failure> {
        let begun = Instant::now();
        let state = InstanceState::new(
            Arc::clone(&self.plugin),
            Arc::clone(&self.limits),
            Arc::clone(&self.granted),
            Arc::clone(&self.metrics.memory_bytes),
        );
        let output = Arc::clone(&state.output);
        let mut instance = Instance::new(&self.component, state)
            .await
            .map_err(|error| self.trapped(Function::Open, &error, &output))?;
        let created = Instant::now();
        self.metrics.instance_created(created - begun);
        let (cpu, backend) = (instance.cpu(), instance.exports.backend());
        let info = cpu
            .measure(backend.call_open(&mut instance.store, &self.config))
            .await
            .map_err(|error| self.trapped(Function::Open, &error, &output))?
            .map_err(|error| self.refused(Function::Open, error))?;
        self.metrics.instance_opened(created.elapsed());
        tracing::debug!(plugin = &*self.plugin, name = info.name, version = info.version, "opened an instance");
        Ok(instance)
    }

    /// The failure for a trap of an instance that printed `output`.
    fn trapped(&self, function: Function, error: &wasmtime::Error, output: &Output) -> Failure {
        let explained = instance::explain(error, &self.plugin, &self.limits);
        let mut reason = match error.downcast_ref::<Trap>() {
            _ if explained.is_some() => explained.unwrap_or_default(),
            Some(Trap::UnreachableCodeReached) => "it stopped itself (a panic, an abort or an `unreachable`)".into(),
            Some(Trap::StackOverflow) => "it recursed too deeply and ran out of stack".into(),
            Some(trap) => format!("it trapped: {trap}"),
            None => error.root_cause().to_string(),
        };
        self.metrics.instances_discarded.fetch_add(1, Relaxed);
        tracing::warn!(
            plugin = &*self.plugin,
            call = function.name(),
            "{reason}; its instance was discarded: {error:#}"
        );
        if let Some(printed) = output.last() {
            reason = format!("{reason}; it printed: {printed}");
        }
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
            self.metrics.instances_idle.fetch_sub(1, Relaxed);
        }
        instance
    }

    /// Makes an instance idle, unless its memory has grown beyond `limits.recycle_mb`: linear memory never shrinks, and some
    /// language runtimes leak.
    fn put_back(&self, mut instance: Instance) {
        instance.store.data_mut().host.end_call();
        if instance.store.data().memory() > self.limits.recycle_bytes() {
            self.metrics.instances_recycled.fetch_add(1, Relaxed);
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // In a pool that was closed meanwhile, nothing would reuse it.
        if !self.permits.is_closed() {
            idle.push(instance);
            self.metrics.instances_idle.fetch_add(1, Relaxed);
        }
    }

    /// Rejects new calls and drops the idle instances.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.drain();
    }

    fn drain(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        self.metrics.instances_idle.fetch_sub(idle.len(), Relaxed);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.drain();
    }
}

/// Runs `work` until the deadline. Sets a timer only when `work` is not ready at the first poll, because most calls are.
async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    match poll!(work.as_mut()) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => timeout_at(deadline, work).await.ok(),
    }
}

/// Adds one to a gauge until it is dropped.
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
