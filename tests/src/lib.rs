//! What end-to-end tests need: what was built, a host at work, and servers for it.

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
