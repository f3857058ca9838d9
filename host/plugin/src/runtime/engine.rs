//! WebAssembly engines.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::policy::{MOST_TABLE_ELEMENTS, PLACES};

/// How often a running plugin is interrupted to let others run, and to find out whether its time is up.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// What host functions need of a call's stack, beyond the plugin's own.
const HOST_STACK_BYTES: usize = 1024 * 1024;

/// An instance has about three tables, and is made of about as many modules.
const TABLES: u32 = 4 * PLACES;

/// What a place keeps in memory when its instance is gone, so that the next one need not ask the system for it.
const KEPT_BYTES: usize = 64 * 1024;

/// The engine for plugins with a stack of `stack_kb` KiB, made when it is first asked for: the size of the stack is the only
/// setting that plugins don't share.
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
    // Where the address space for that is not to be had, instances are made from scratch.
    let engine = Engine::new(config.allocation_strategy(places())).or_else(|error| {
        tracing::info!("instances of plugins are made from scratch: {error:#}");
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

fn config(stack_bytes: usize) -> Config {
    let mut config = Config::new();
    // The contract has plain functions only; without this, every call is three times as cheap.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.max_wasm_stack(stack_bytes);
    config.async_stack_size(stack_bytes + HOST_STACK_BYTES);
    config
}

/// Address space for instances, set apart beforehand: making one then asks the system for next to nothing. Only what is used
/// takes memory. The limits of an instance are the plugin's own; these are where they end.
fn places() -> PoolingAllocationConfig {
    let mut places = PoolingAllocationConfig::new();
    places.total_component_instances(PLACES).total_stacks(PLACES).total_memories(PLACES);
    places.total_core_instances(TABLES).total_tables(TABLES);
    // Language runtimes are many modules.
    places.max_core_instances_per_component(100).max_tables_per_component(100).max_tables_per_module(10);
    places.table_elements(MOST_TABLE_ELEMENTS);
    places
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_BYTES)
        .async_stack_keep_resident(KEPT_BYTES);
    places
}
