//! The capabilities of plugins: one folder or file for each interface of `wit/`.
//!
//! To add a capability:
//!
//! 1. Add its interface to the world in `wit/world.wit`.
//! 2. Implement the interface for [`HostState`](state::HostState): a small one in `state.rs`, another in a folder here.
//! 3. Add its grants to [`policy`](crate::policy), and the granted resources to [`Granted`](granted::Granted).

mod batch;
pub(crate) mod connections;
pub(crate) mod granted;
pub(crate) mod http;
pub mod keyvalue;
mod log;
pub mod metrics;
pub mod redis;
mod render;
mod secrets;
pub mod sql;
pub(crate) mod state;
mod tls;
