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
mod function;
pub(crate) mod inspect;
mod instance;
mod policy;
mod pool;
mod runtime;
mod supervisor;

pub use backend::PluginBackend;
pub use capabilities::metrics::{Distribution, Figure};
pub use inspect::{InspectError, Inspection, Kind, Problem, inspect, world_of};
pub use policy::{Grants, Limits, PluginConfig, RedisGrant};
pub use runtime::{PluginComponent, PluginRuntime, PluginRuntimeConfig};
pub use supervisor::{LatencyBucket, PluginCalls, PluginErrors, PluginReport};
