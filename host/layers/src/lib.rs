//! Layers: wrappers that add one concern to any backend, each an ordinary
//! [`StorageBackend`](reflow_tracing_storage::StorageBackend).
//!
//! | layer | around | what it adds |
//! |---|---|---|
//! | [`Metered`](reflow_tracing_storage::metrics::Metered) | the backend itself | counts and measures what the backend does |
//! | [`timeout`] | metrics | a call that hangs ends |
//! | [`retry`] | timeout | a call that failed with a transient error is tried again |
//! | `spool` (feature of that name) | timeout, in place of retry | writes are kept while the backend is away |
//! | [`lazy`] | what opens the backend | the backend may be away at the start |

pub mod lazy;
pub mod retry;
#[cfg(feature = "spool")]
pub mod spool;
pub mod timeout;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
