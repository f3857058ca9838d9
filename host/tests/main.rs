//! Tests of the library from outside.

mod command_line;
mod conformance;
mod conformance_finds_faults;
mod reflow_json;
