//! Custom backends: WebAssembly components that keep the contract in `wit/`, each in a sandbox of its own.
//!
//! A plugin reaches what the operator granted it and nothing else ([`Grants`]), within bounds ([`Limits`]).
//! [`PluginBackend`] presents it as a [`StorageBackend`](crate::storage::StorageBackend).

mod backend;
mod batch;
mod bindings;
mod body;
mod capabilities;
mod component;
mod convert;
mod cpu;
mod engine;
mod instance;
mod policy;
mod pool;

pub use backend::{PluginBackend, PluginComponent};
pub use capabilities::metrics::{Distribution, Figure};
pub use policy::{Grants, Limits, PluginConfig, RedisGrant};
