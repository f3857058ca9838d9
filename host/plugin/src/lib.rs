//! Custom backends: WebAssembly components that implement the contract in `wit/`, each in its own sandbox.
//!
//! A plugin reaches only what the operator granted ([`Grants`]), within resource limits ([`Limits`]).
//! [`PluginBackend`] presents a plugin as a [`StorageBackend`](reflow_tracing_storage::StorageBackend).

mod backend;
mod capabilities;
mod contract;
mod inspect;
mod plain_json;
mod policy;
mod runtime;
pub mod wit;

pub use backend::PluginBackend;
pub use capabilities::metrics::{Histogram, Metric};
pub use capabilities::sql::excessive_grants;
pub use inspect::{Code, Explanation, InspectError, Inspection, Kind, Problem, explain, inspect, world_of};
pub use policy::{Grants, HttpGrant, Limits, PluginConfig, RedisGrant};
pub use runtime::call_metrics::{LatencyBucket, PluginCalls, PluginErrors};
pub use runtime::supervisor::PluginReport;
pub use runtime::{Admission, CompilerProcess, PluginComponent, PluginRuntime, PluginRuntimeConfig, run_compiler};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
