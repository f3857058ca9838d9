//! Layers: wrappers that add one concern to any backend, each an ordinary [`StorageBackend`](super::StorageBackend).
//!
//! | layer | around | what it adds |
//! |---|---|---|
//! | [`metrics`] | the backend itself | counts and measures what the backend does |
//! | [`timeout`] | metrics | a call that hangs ends |
//! | [`retry`] | timeout | what may pass is tried again |
//! | `spool` (feature of that name) | timeout, in place of retry | writes are kept while the backend is away |

#[cfg(all(feature = "server", feature = "spool"))]
pub(crate) mod late;
pub mod metrics;
pub mod retry;
mod shared;
#[cfg(feature = "spool")]
pub mod spool;
pub mod timeout;
