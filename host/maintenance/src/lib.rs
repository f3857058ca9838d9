//! Background maintenance of a store, on any backend: its health is watched, and what has expired is deleted.
//!
//! Programs find this in the facade, as `reflow_tracing::maintenance`.

pub mod health;
pub mod retention;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
