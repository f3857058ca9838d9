//! The one WebAssembly engine of the process.

use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::{Config, Engine};

/// How often a running plugin is interrupted to let others run, and to find out whether its time is up.
const TICK: Duration = Duration::from_millis(10);

/// Native stack of a plugin's calls; deeper recursion is a trap.
const WASM_STACK_BYTES: usize = 1024 * 1024;

/// The engine, made when the first plugin is loaded.
pub(super) fn engine() -> wasmtime::Result<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    engine.as_ref().map_err(|error| wasmtime::Error::msg(error.clone()))
}

fn start() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    // The contract has plain functions only; without this, every call is three times as cheap.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.async_stack_size(WASM_STACK_BYTES + 1024 * 1024);
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
