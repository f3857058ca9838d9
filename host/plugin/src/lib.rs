//! Custom backends: WebAssembly components that keep the contract in `wit/`, each in a sandbox of its own.
//!
//! A plugin reaches what the operator granted it and nothing else ([`Grants`]), within bounds ([`Limits`]).
//! [`PluginBackend`] presents it as a [`StorageBackend`](reflow_tracing_storage::StorageBackend).

mod backend;
mod capabilities;
mod component;
mod contract;
mod inspect;
mod policy;
mod runtime;
pub mod wit;

use contract::{batch, bindings, body, convert, function};
use runtime::{engine, instance};

pub use backend::PluginBackend;
pub use capabilities::metrics::{Distribution, Figure};
pub use inspect::{InspectError, Inspection, Kind, Problem, inspect, world_of};
pub use policy::{Grants, HttpGrant, Limits, PluginConfig, RedisGrant};
pub use runtime::supervisor::{LatencyBucket, PluginCalls, PluginErrors, PluginReport};
pub use runtime::{PluginComponent, PluginRuntime, PluginRuntimeConfig};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
