//! WebAssembly engines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{CacheStore, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::policy::{INSTANCE_SLOTS, MAX_TABLE_ELEMENTS};

/// How often a running plugin is interrupted, to let others run and to check its processor time.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Stack for host functions, in addition to the plugin's own.
const HOST_STACK_BYTES: usize = 1024 * 1024;

/// An instance has about three tables and three modules.
const TABLES: u32 = 4 * INSTANCE_SLOTS;

/// Memory that a free slot keeps resident, so that the next instance needs no system call for it.
const RESIDENT_BYTES: usize = 64 * 1024;

/// The engine for plugins with a stack of `stack_kb` KiB, created on first use. The stack size is the only engine setting
/// that differs between plugins.
pub(crate) fn engine(stack_kb: u32) -> wasmtime::Result<Engine> {
    static ENGINES: Mutex<BTreeMap<u32, Engine>> = Mutex::new(BTreeMap::new());
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = engines.get(&stack_kb) {
        return Ok(engine.clone());
    }
    let engine = start(stack_kb as usize * 1024)?;
    engines.insert(stack_kb, engine.clone());
    Ok(engine)
}

fn start(stack_bytes: usize) -> wasmtime::Result<Engine> {
    let mut config = config(stack_bytes);
    let engine = Engine::new(config.allocation_strategy(instance_pool())).or_else(|error| {
        tracing::info!("can't reserve address space for plugin instances, so each is allocated on demand: {error:#}");
        Engine::new(config.allocation_strategy(InstanceAllocationStrategy::OnDemand))
    })?;
    let ticking = engine.clone();
    std::thread::Builder::new().name("plugin-ticks".into()).spawn(move || {
        loop {
            std::thread::sleep(TICK);
            ticking.increment_epoch();
        }
    })?;
    Ok(engine)
}

/// An engine that compiles for [`engine`], and asks `functions` for each function first. It can't run anything.
pub(super) fn compiler(stack_kb: u32, functions: Arc<dyn CacheStore>) -> wasmtime::Result<Engine> {
    let mut config = config(stack_kb as usize * 1024);
    config.enable_incremental_compilation(functions)?;
    Engine::new(&config)
}

fn config(stack_bytes: usize) -> Config {
    let mut config = Config::new();
    // The contract has only synchronous functions; without this, a call takes a third of the time.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.max_wasm_stack(stack_bytes);
    config.async_stack_size(stack_bytes + HOST_STACK_BYTES);
    config
}

/// Address space reserved for instances, so that creating one needs few system calls. Only used pages take memory. These are
/// the maxima of what a plugin's limits can allow.
fn instance_pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCE_SLOTS).total_stacks(INSTANCE_SLOTS).total_memories(INSTANCE_SLOTS);
    pool.total_core_instances(TABLES).total_tables(TABLES);
    // Language runtimes consist of many modules.
    pool.max_core_instances_per_component(100).max_tables_per_component(100).max_tables_per_module(10);
    pool.table_elements(MAX_TABLE_ELEMENTS);
    pool.linear_memory_keep_resident(RESIDENT_BYTES)
        .table_keep_resident(RESIDENT_BYTES)
        .async_stack_keep_resident(RESIDENT_BYTES);
    pool
}
