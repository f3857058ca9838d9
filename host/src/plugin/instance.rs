//! An instance of a plugin: its memory, its handles, and the limits around its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wasmtime::component::{ResourceTable, ResourceTableError};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::{Plugin, PluginPre};
use super::capabilities::Granted;
use super::capabilities::http::Http;
use super::cpu::CpuTime;
use super::policy::Limits;

/// The most random bytes that a plugin gets at once: the host has them in memory for a moment.
const MAX_RANDOM_BYTES: u64 = 1024 * 1024;

/// What the host keeps for an instance.
pub(crate) struct InstanceState {
    pub(super) plugin: Arc<str>,
    /// What the instance's handles stand for.
    pub(super) table: ResourceTable,
    pub(super) granted: Arc<Granted>,
    pub(super) limits: Arc<Limits>,
    /// Nothing is granted: no files, no sockets, no environment, no arguments.
    wasi: WasiCtx,
    pub(super) http: Http,
    /// What the present call takes of a processor.
    cpu: Arc<CpuTime>,
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
        let cpu = Arc::new(CpuTime::new(limits.cpu()));
        let state = InstanceState {
            http: Http::new(Arc::clone(&granted), Arc::clone(&limits)),
            cpu: Arc::clone(&cpu),
            plugin,
            table,
            granted,
            limits,
            wasi: WasiCtx::builder().max_random_size(MAX_RANDOM_BYTES).build(),
            memory: 0,
            all_memory,
            batch_bytes: 0,
        };
        let mut store = Store::new(component.engine(), state);
        store.limiter(|state| state);
        // What the plugin hands over in one call is copied before anyone looks at it, and a list may name the same bytes
        // again and again: the copies are counted, not the bytes.
        let fuel = store.data().limits.result_bytes();
        store.set_hostcall_fuel(fuel);
        // At every tick the plugin gives way, so that others have their turn and the time limit around its call can end it.
        let spent = Arc::clone(&cpu);
        store.epoch_deadline_callback(move |store| {
            if spent.is_over() {
                let InstanceState { plugin, limits, .. } = store.data();
                return Err(wasmtime::Error::msg(format!(
                    "it kept a processor busy for more than {} ms (plugins.{plugin}.limits.cpu_ms) and was stopped",
                    limits.cpu_ms
                )));
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(Arc::clone(&spent).give_way())))
        });
        store.set_epoch_deadline(1);
        let exports = cpu.measure(component.instantiate_async(&mut store)).await?;
        Ok(Self { store, exports })
    }

    /// What measures its calls.
    pub(super) fn cpu(&self) -> Arc<CpuTime> {
        Arc::clone(&self.store.data().cpu)
    }
}

/// Why a call failed, where the engine knows less of it than the host does: the setting that it ran into.
pub(super) fn explain(error: &wasmtime::Error, plugin: &str, limits: &Limits) -> Option<String> {
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        let most = limits.handles;
        return Some(format!("it holds {most} handles already, the most that plugins.{plugin}.limits.handles allows"));
    }
    // An error without a type of its own.
    error.root_cause().to_string().contains("fuel allocated for hostcalls").then(|| {
        format!(
            "it handed over more than {} MiB at once, the most that plugins.{plugin}.limits.result_mb allows",
            limits.result_mb
        )
    })
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
        if desired > self.limits.table_elements {
            return Err(wasmtime::Error::msg(format!(
                "it needs a table of {desired} elements; raise plugins.{}.limits.table_elements, which is {}, if that is in \
                 order",
                self.plugin, self.limits.table_elements
            )));
        }
        Ok(true)
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
