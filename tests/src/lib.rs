//! What end-to-end tests need: what was built, and a host at work.

mod built;
mod host;

pub use built::{fixture, host_program, plugin, root, test_plugin};
pub use host::{Backend, Host, Setting};
