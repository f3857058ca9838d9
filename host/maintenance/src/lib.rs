//! Background maintenance for every backend: health checks and retention.
//!
//! Programs use the facade, `reflow_tracing::maintenance`.

pub mod health;
pub mod retention;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
