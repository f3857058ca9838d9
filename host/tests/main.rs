//! Tests of the library and the program from outside.

#[cfg(all(feature = "server", feature = "sqlite"))]
mod command_line;
mod conformance;
mod conformance_finds_faults;
mod reflow_json;
