//! Fixtures of the end-to-end tests: build products, a running host, and servers.

mod built;
mod event;
mod host;
#[cfg(target_os = "linux")]
mod peak_memory;
#[cfg(unix)]
pub mod servers;

pub use built::{fixture, host_program, plugin, root, test_plugin};
pub use event::event_of_id;
pub use host::{Backend, Host, Setting};
#[cfg(target_os = "linux")]
pub use peak_memory::wait_watching_memory;
