//! Backends that are WebAssembly components.

mod policy;

pub use policy::{Grants, Limits, PluginConfig};
