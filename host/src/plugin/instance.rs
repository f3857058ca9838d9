//! An instance of a plugin: its memory, its handles, and the limits around its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::{Plugin, PluginPre};
use super::capabilities::Granted;
use super::policy::Limits;

/// What the host keeps for an instance.
pub(crate) struct InstanceState {
    pub(super) plugin: Arc<str>,
    /// What the instance's handles stand for.
    pub(super) table: ResourceTable,
    pub(super) granted: Arc<Granted>,
    pub(super) limits: Arc<Limits>,
    /// Nothing is granted: no files, no sockets, no environment, no arguments.
    wasi: WasiCtx,
    /// The bytes of all of its memories.
    memory: usize,
    /// The same of all instances of the plugin.
    all_memory: Arc<AtomicUsize>,
    /// The bytes of the events in its batches.
    pub(super) batch_bytes: usize,
}

/// An instance, ready to be called.
pub(super) struct Instance {
    pub store: Store<InstanceState>,
    pub exports: Plugin,
}

impl Instance {
    pub(super) async fn new(
        component: &PluginPre<InstanceState>,
        plugin: Arc<str>,
        limits: Arc<Limits>,
        granted: Arc<Granted>,
        all_memory: Arc<AtomicUsize>,
    ) -> wasmtime::Result<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let state = InstanceState {
            plugin,
            table,
            granted,
            limits,
            wasi: WasiCtx::builder().build(),
            memory: 0,
            all_memory,
            batch_bytes: 0,
        };
        let mut store = Store::new(component.engine(), state);
        store.limiter(|state| state);
        // At every tick the plugin gives way, so that the time limit around its call can end it.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        store.set_epoch_deadline(1);
        let exports = component.instantiate_async(&mut store).await?;
        Ok(Self { store, exports })
    }
}

impl InstanceState {
    /// The bytes of its memories.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl Drop for InstanceState {
    fn drop(&mut self) {
        self.all_memory.fetch_sub(self.memory, Relaxed);
    }
}

impl ResourceLimiter for InstanceState {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grown = self.memory.saturating_add(desired - current);
        if grown > self.limits.memory_bytes() {
            // A trap rather than a failed allocation: the reason is then known for certain.
            return Err(wasmtime::Error::msg(format!(
                "it needs more than {} MiB of memory; raise plugins.{}.limits.memory_mb if that is in order",
                self.limits.memory_mb, self.plugin
            )));
        }
        self.memory = grown;
        self.all_memory.fetch_add(desired - current, Relaxed);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.limits.table_elements)
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
