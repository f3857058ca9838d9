//! An instance of a plugin: its memory, its handles, and the limits around its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wasmtime::component::ResourceTableError;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::cpu::CpuTime;
use super::exports::{Exporting, Exports};
use super::output::Output;
use crate::capabilities::granted::Granted;
use crate::capabilities::state::HostState;
use crate::policy::Limits;

/// Maximum random bytes per request, because the host holds them in memory.
const MAX_RANDOM_BYTES: u64 = 1024 * 1024;

/// The host's state of an instance.
pub(crate) struct InstanceState {
    pub(crate) host: HostState,
    /// Grants nothing but output: no files, no sockets, no environment, no arguments.
    wasi: WasiCtx,
    /// What it prints.
    pub(super) output: Arc<Output>,
    /// The processor time of the current call.
    cpu: Arc<CpuTime>,
    /// Bytes of all its linear memories.
    memory: usize,
    /// Bytes of the linear memories of all instances of the plugin.
    all_memory: Arc<AtomicUsize>,
}

/// An instance, ready to be called.
pub(crate) struct Instance {
    pub store: Store<InstanceState>,
    pub exports: Exports,
}

impl Instance {
    /// A new instance, which is not open yet.
    pub(crate) async fn new(component: &Exporting, state: InstanceState) -> wasmtime::Result<Self> {
        let cpu = Arc::clone(&state.cpu);
        let mut store = Store::new(component.engine(), state);
        store.limiter(|state| state);
        // Arguments are copied before the host sees them, and a list may refer to the same bytes many times. The fuel bounds
        // the size of the copies.
        let fuel = store.data().host.limits.result_bytes();
        store.set_hostcall_fuel(fuel);
        // The plugin yields at every tick, so that others can run and the time limit around the call can cancel it.
        let spent = Arc::clone(&cpu);
        store.epoch_deadline_callback(move |_| {
            spent.check()?;
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(Arc::clone(&spent).yield_slot())))
        });
        store.set_epoch_deadline(1);
        let exports = cpu.measure(component.instantiate(&mut store)).await?;
        Ok(Self { store, exports })
    }

    /// Measures its calls.
    pub(crate) fn cpu(&self) -> Arc<CpuTime> {
        Arc::clone(&self.store.data().cpu)
    }
}

/// Errors of the engine about what a component must not do, and what its author does about it.
const EXPLAINED: &[(&str, &str)] = &[
    (
        "borrow handles still remain at the end of the call",
        "it kept a resource that was lent to it for the call: drop every borrowed handle (an event batch, for example) before the \
         function returns; in a language with a garbage collector, release it explicitly",
    ),
    (
        "cannot leave component instance",
        "it called the host where that is not allowed: while it is instantiated, or in the function that frees a result. Make such calls in \
         `open` or later",
    ),
    (
        "cannot enter component instance",
        "it was called while an earlier call into it had not ended, because that one trapped: its state is not defined any more",
    ),
    ("unknown handle index", "it used a handle that it had dropped or never had"),
];

/// Explains a trap by the limit that the call exceeded, if it was one that the engine does not name.
pub(crate) fn explain(error: &wasmtime::Error, plugin: &str, limits: &Limits) -> Option<String> {
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        let most = limits.handles;
        return Some(format!("it already holds {most} handles, the maximum of plugins.{plugin}.limits.handles"));
    }
    // The engine has no error types for these.
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls") {
        return Some(format!(
            "it passed more than {} MiB in one call, the maximum of plugins.{plugin}.limits.result_mb",
            limits.result_mb
        ));
    }
    EXPLAINED.iter().find(|(part, _)| cause.contains(part)).map(|(_, explanation)| (*explanation).to_owned())
}

impl InstanceState {
    pub(crate) fn new(
        plugin: Arc<str>,
        limits: Arc<Limits>,
        granted: Arc<Granted>,
        all_memory: Arc<AtomicUsize>,
    ) -> Self {
        let output = Output::new(Arc::clone(&granted));
        let mut wasi = WasiCtx::builder();
        wasi.max_random_size(MAX_RANDOM_BYTES).stdout(output.stdout()).stderr(output.stderr());
        let cpu = Arc::new(CpuTime::new(Arc::clone(&plugin), limits.cpu()));
        Self {
            host: HostState::new(plugin, limits, granted, &cpu),
            cpu,
            wasi: wasi.build(),
            output,
            memory: 0,
            all_memory,
        }
    }

    /// Bytes of its linear memories.
    pub(crate) fn memory(&self) -> usize {
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
        if grown > self.host.limits.memory_bytes() {
            // A trap rather than a failed allocation, so that the reason is certain.
            return Err(wasmtime::Error::msg(format!(
                "it needs more than {} MiB of memory; raise plugins.{}.limits.memory_mb if that is expected",
                self.host.limits.memory_mb, self.host.plugin
            )));
        }
        self.memory = grown;
        self.all_memory.fetch_add(desired - current, Relaxed);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.host.limits.table_elements {
            return Err(wasmtime::Error::msg(format!(
                "it needs a table of {desired} elements; raise plugins.{}.limits.table_elements, which is {}, if that is \
                 expected",
                self.host.plugin, self.host.limits.table_elements
            )));
        }
        Ok(true)
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.host.table }
    }
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let HostState { http, table, .. } = &mut self.host;
        http.view(table)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use wasmtime::Module;

    use super::*;
    use crate::capabilities::connections::ConnectionBudget;
    use crate::policy::PluginConfig;
    use crate::runtime::engine::engine;

    /// `(module (table 1 funcref) (func (export "grow") (result i32) (table.grow (ref.null func) (i32.const 1000000))))`:
    /// no toolchain emits code that grows a table.
    const GROWS_ITS_TABLE: &[u8] = b"\0asm\x01\0\0\0\
        \x01\x05\x01\x60\x00\x01\x7f\
        \x03\x02\x01\x00\
        \x04\x04\x01\x70\x00\x01\
        \x07\x08\x01\x04grow\x00\x00\
        \x0a\x0d\x01\x0b\x00\xd0\x70\x41\xc0\x84\x3d\xfc\x0f\x00\x0b";

    async fn grow_table(limits: Limits) -> wasmtime::Result<i32> {
        let engine = engine(limits.stack_kb)?;
        let connections = ConnectionBudget::new(1, &Arc::new(Semaphore::new(1)));
        let granted = Granted::new("greedy", &PluginConfig::default(), &connections).expect("nothing is granted");
        let mut store = Store::new(
            &engine,
            InstanceState::new("greedy".into(), Arc::new(limits), Arc::new(granted), Arc::default()),
        );
        store.limiter(|state| state);
        store.set_epoch_deadline(u64::MAX / 2);
        let module = Module::new(&engine, GROWS_ITS_TABLE)?;
        let instance = wasmtime::Instance::new_async(&mut store, &module, &[]).await?;
        instance.get_typed_func::<(), i32>(&mut store, "grow")?.call_async(&mut store, ()).await
    }

    #[tokio::test]
    async fn a_table_grows_up_to_its_limit() {
        let grown = grow_table(Limits { table_elements: 1_000_001, ..Limits::default() }).await;
        assert_eq!(grown.expect("the limit allows it"), 1, "the size before");
        let refused = grow_table(Limits { table_elements: 1_000_000, ..Limits::default() }).await;
        let reason = refused.expect_err("the limit forbids it").root_cause().to_string();
        assert!(reason.contains("1000001") && reason.contains("plugins.greedy.limits.table_elements"), "{reason}");
    }
}
