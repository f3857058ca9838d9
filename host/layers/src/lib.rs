//! Layers: wrappers that add one concern to any backend, each an ordinary
//! [`StorageBackend`](reflow_tracing_storage::StorageBackend).
//!
//! | layer | around | what it adds |
//! |---|---|---|
//! | [`Metered`](reflow_tracing_storage::metrics::Metered) | the backend itself | measures calls to the backend |
//! | [`timeout`] | metrics | limits the duration of calls |
//! | [`retry`] | timeout | retries calls that failed with a transient error |
//! | `spool` (feature of that name) | timeout, in place of retry | keeps writes while the backend is unavailable |
//! | `tee` (the same feature) | all others | gives every write to further backends, from a queue on disk |
//! | [`lazy`] | the function that opens the backend | allows a start while the backend is unavailable |

pub mod lazy;
pub mod retry;
#[cfg(feature = "spool")]
pub mod spool;
#[cfg(feature = "spool")]
pub mod tee;
pub mod timeout;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
