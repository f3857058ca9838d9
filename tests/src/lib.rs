//! Fixtures of the end-to-end tests: build products, a running host, and servers.

mod built;
mod event;
mod host;
#[cfg(target_os = "linux")]
mod peak_memory;
#[cfg(unix)]
pub mod servers;

/// How many times as much a random test does: `REFLOW_SOAK`, which `cargo xtask soak` sets, or once.
pub fn soak() -> u32 {
    std::env::var("REFLOW_SOAK").map_or(1, |times| times.parse().expect("REFLOW_SOAK is a number"))
}

pub use built::{fixture, host_program, plugin, root, test_plugin};
pub use event::event_of_id;
pub use host::{Backend, Host, Setting};
#[cfg(target_os = "linux")]
pub use peak_memory::{peak_memory, wait_watching_memory};
