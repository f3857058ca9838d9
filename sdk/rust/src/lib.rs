//! Write a storage plugin for reflow-tracing in Rust.
