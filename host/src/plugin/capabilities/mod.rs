//! What a plugin can reach: one folder or file for each interface of `wit/capabilities/`.
//!
//! A new capability is a file here that implements the interface for [`InstanceState`](super::instance::InstanceState),
//! its grants in [`policy`](super::policy), and the interface in the world of `wit/capabilities/world.wit`.

mod log;
pub mod sql;
