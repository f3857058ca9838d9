//! WebAssembly engines.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Config, Engine};

/// How often a running plugin is interrupted to let others run, and to find out whether its time is up.
pub(in crate::plugin) const TICK: Duration = Duration::from_millis(10);

/// What host functions need of a call's stack, beyond the plugin's own.
const HOST_STACK_BYTES: usize = 1024 * 1024;

/// The engine for plugins with a stack of `stack_kb` KiB, made when it is first asked for: the size of the stack is the only
/// setting that plugins don't share.
pub(in crate::plugin) fn engine(stack_kb: u32) -> wasmtime::Result<Engine> {
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
    let mut config = Config::new();
    // The contract has plain functions only; without this, every call is three times as cheap.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.max_wasm_stack(stack_bytes);
    config.async_stack_size(stack_bytes + HOST_STACK_BYTES);
    let engine = Engine::new(&config)?;
    let ticking = engine.clone();
    std::thread::Builder::new().name("plugin-ticks".into()).spawn(move || {
        loop {
            std::thread::sleep(TICK);
            ticking.increment_epoch();
        }
    })?;
    Ok(engine)
}
