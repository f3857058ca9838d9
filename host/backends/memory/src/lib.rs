//! A bounded store in memory, for development, tests, and programs that need only their last executions.
//!
//! One readers-writer lock guards the store, and no trace is copied or freed while it is held: headers and events are shared
//! (`Arc`), so a reader takes pointers and copies after releasing the lock. A query walks an index in its order until the page
//! is full, and releases the lock at intervals. Whatever a query can ask of events is indexed beside them. Traces are also
//! ordered by last use; a write that exceeds a bound evicts the least recently used.

mod backend;
mod batch;
mod config;
mod entry;
mod events;
mod index;
mod names;
mod recency;
mod search;
mod size;
mod state;
#[cfg(test)]
mod tests;

pub use backend::MemoryStorage;
pub use config::{EvictionPolicy, MemoryConfig};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
