//! Warm instances of a plugin, and what surrounds their calls.
//!
//! At most `limits.instances` calls run at a time, each on an instance of its own; an instance whose call came to an end
//! is kept for the next. One that trapped, or whose time was up, is thrown away with all that it held: the damage is its
//! own call's.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use wasmtime::Trap;

use super::bindings::PluginPre;
use super::bindings::reflow::storage::types;
use super::capabilities::Granted;
use super::convert;
use super::instance::{self, Instance, InstanceState};
use super::policy::Limits;
use crate::storage::StorageError;

pub(super) struct Pool {
    plugin: Arc<str>,
    component: PluginPre<InstanceState>,
    /// What the plugin is given when it is opened: a JSON object.
    config: String,
    limits: Arc<Limits>,
    granted: Arc<Granted>,
    idle: Mutex<Vec<Instance>>,
    permits: Semaphore,
}

/// What a call into a plugin gives: a trap, an error of the plugin's own, or an answer.
pub(super) type Called<T> = wasmtime::Result<Result<T, types::StorageError>>;

impl Pool {
    pub(super) fn new(
        plugin: &str,
        component: PluginPre<InstanceState>,
        config: String,
        limits: Arc<Limits>,
        granted: Granted,
    ) -> Self {
        Self {
            plugin: plugin.into(),
            component,
            config,
            permits: Semaphore::new(limits.instances),
            limits,
            granted: Arc::new(granted),
            idle: Mutex::default(),
        }
    }

    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Calls `function` on an instance that no one else uses, within the time that a call may take.
    pub(super) async fn call<T>(
        &self,
        function: &'static str,
        run: impl AsyncFnOnce(&mut Instance) -> Called<T>,
    ) -> Result<T, StorageError> {
        let deadline = Instant::now() + self.limits.call_timeout();
        let Ok(permit) = timeout_at(deadline, self.permits.acquire()).await else {
            return Err(StorageError::Unavailable(format!(
                "all {} instances of plugin `{}` were busy for {} ms; plugins.{0}.limits.instances allows for more",
                self.limits.instances, self.plugin, self.limits.call_timeout_ms
            )));
        };
        let _permit = permit.map_err(|_| StorageError::Unavailable(format!("plugin `{}` is closed", self.plugin)))?;
        let result = timeout_at(deadline, async {
            let mut instance = match self.take() {
                Some(instance) => instance,
                None => self.open().await?,
            };
            let cpu = instance.cpu();
            let answer = cpu.measure(run(&mut instance)).await.map_err(|error| self.broke(function, &error))?;
            // The instance came to an end in good order, whatever its answer.
            self.keep(instance);
            answer.map_err(|error| convert::error(&self.plugin, function, error))
        })
        .await;
        result.unwrap_or_else(|_| {
            Err(self.failed(
                function,
                format!(
                    "it took longer than {} ms (plugins.{}.limits.call_timeout_ms) and was stopped",
                    self.limits.call_timeout_ms, self.plugin
                ),
            ))
        })
    }

    /// A new instance, opened.
    async fn open(&self) -> Result<Instance, StorageError> {
        const OPEN: &str = "open";
        let plugin = Arc::clone(&self.plugin);
        let mut instance = Instance::new(&self.component, plugin, Arc::clone(&self.limits), Arc::clone(&self.granted))
            .await
            .map_err(|error| self.broke("instantiate", &error))?;
        let (cpu, backend) = (instance.cpu(), instance.exports.reflow_storage_backend());
        let info = cpu
            .measure(backend.call_open(&mut instance.store, &self.config))
            .await
            .map_err(|error| self.broke(OPEN, &error))?
            .map_err(|error| convert::error(&self.plugin, OPEN, error))?;
        tracing::debug!(plugin = &*self.plugin, name = info.name, version = info.version, "opened an instance");
        Ok(instance)
    }

    /// What a trap means to the caller.
    fn broke(&self, function: &'static str, error: &wasmtime::Error) -> StorageError {
        let explained = instance::explain(error, &self.plugin, &self.limits);
        let reason = match error.downcast_ref::<Trap>() {
            _ if explained.is_some() => explained.unwrap_or_default(),
            Some(Trap::UnreachableCodeReached) => "it stopped itself (a panic, an abort or an `unreachable`)".into(),
            Some(Trap::StackOverflow) => "it recursed too deeply and ran out of stack".into(),
            Some(trap) => format!("it trapped: {trap}"),
            None => error.root_cause().to_string(),
        };
        tracing::warn!(plugin = &*self.plugin, call = function, "{reason}; its instance was discarded: {error:?}");
        self.failed(function, reason)
    }

    fn failed(&self, call: &'static str, reason: String) -> StorageError {
        StorageError::Plugin { plugin: self.plugin.to_string(), call, reason, retryable: true }
    }

    fn take(&self) -> Option<Instance> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, instance: Instance) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
    }

    /// Lets no call in any more, and ends the instances that are idle.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
