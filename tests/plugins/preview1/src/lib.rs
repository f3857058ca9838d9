//! A core module that calls WASI preview 1, as the runtimes of older toolchains do. It stores nothing; its statistics show
//! preview 1's clock and environment.

#[macro_use]
#[path = "../../stub.rs"]
mod stub;

use reflow_tracing_plugin::{Backend, Info, Result, Stats, StorageError, export};

export!(Preview1);

#[cfg(target_family = "wasm")]
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn environ_sizes_get(count: *mut usize, bytes: *mut usize) -> u32;
}

/// The time in nanoseconds, and the number of environment variables.
#[cfg(target_family = "wasm")]
fn ask() -> Option<(u64, usize)> {
    const REALTIME: u32 = 0;
    let (mut time, mut count, mut bytes) = (0, 0, 0);
    // SAFETY: each pointer is to a value of the size that preview 1 writes.
    let errors =
        unsafe { [clock_time_get(REALTIME, 0, &raw mut time), environ_sizes_get(&raw mut count, &raw mut bytes)] };
    (errors == [0, 0]).then_some((time, count))
}

/// Native code can't call preview 1.
#[cfg(not(target_family = "wasm"))]
fn ask() -> Option<(u64, usize)> {
    None
}

struct Preview1;

impl Backend for Preview1 {
    fn open(_config: &str) -> Result<Self> {
        Ok(Self)
    }

    fn info(&self) -> Info {
        Info { name: "preview1".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn stats(&self) -> Result<Stats> {
        let (time, variables) = ask().ok_or_else(|| StorageError::other("preview 1 did not answer"))?;
        Ok(Stats { traces: variables as u64, events: 0, bytes: None, oldest: None, newest: Some(time as i64) })
    }

    stub!(store_traces, store_events, get_traces, query_traces, get_events, delete_traces, health_check);
}
