//! What end-to-end tests need: what was built, a host at work, and servers for it.

mod built;
mod event;
mod host;
#[cfg(unix)]
pub mod servers;

pub use built::{fixture, host_program, plugin, root, test_plugin};
pub use event::event_of_id;
pub use host::{Backend, Host, Setting};
