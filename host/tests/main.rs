//! Tests of the library from outside.

mod command_line;
mod conformance;
mod conformance_finds_faults;
#[cfg(feature = "sqlite")]
mod migration;
mod reflow_json;
