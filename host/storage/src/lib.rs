//! The storage contract: what every backend of reflow-tracing keeps, and what callers can rely on.
//!
//! [`StorageBackend`] is the product; a backend implements it, a [`Layer`] wraps it, [`metrics::Metered`] measures it.
//! Programs import the facade `reflow_tracing`; this package is for those who write a backend or a layer of their own.

mod backend;
mod error;
mod extension;
mod extras;
pub mod layer;
pub mod metrics;
pub mod paging;
#[cfg(feature = "redis")]
mod redis_error;
pub mod refusals;
mod shared;
pub mod streaming;
pub mod task;
pub mod write_queue;

pub use backend::{Deletion, Detail, PageRequest, StorageBackend, StorageStats, TracePart};
pub use error::StorageError;
pub use extension::StorageBackendExt;
pub use extras::StorageExtras;
pub use layer::Layer;
pub use metrics::{CallMetrics, SpoolMetrics, StorageMetrics};
// What an implementation of the contract names.
pub use async_trait::async_trait;
pub use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId, TraceQuery};
