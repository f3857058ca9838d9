//! Tests of the library from outside.

mod command_line;
mod conformance;
mod conformance_finds_faults;
mod document;
#[cfg(feature = "sqlite")]
mod migration;
#[cfg(all(feature = "redis", unix))]
mod redis_server;
mod reflow_json;
