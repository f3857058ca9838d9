//! Tests of the library from outside.

mod conformance;
mod conformance_finds_faults;
mod reflow_json;
