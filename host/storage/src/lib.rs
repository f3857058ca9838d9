//! The storage contract: what every backend of reflow-tracing guarantees.
//!
//! A backend implements [`StorageBackend`], a [`Layer`] wraps it, and [`metrics::Metered`] measures it. Programs import the
//! facade `reflow_tracing`; this package is for authors of backends and layers.

mod backend;
mod error;
mod extension;
mod extras;
pub mod layer;
pub mod metrics;
pub mod paging;
pub mod range;
#[cfg(feature = "redis")]
mod redis_error;
pub mod refusals;
pub mod sql;
pub mod streaming;
pub mod task;
pub mod write_queue;

pub use backend::{Deletion, Detail, PageRequest, StorageBackend, StorageStats, TracePart};
pub use error::StorageError;
pub use extension::StorageBackendExt;
pub use extras::StorageExtras;
pub use layer::Layer;
pub use metrics::{AlsoMetrics, CallMetrics, SpoolMetrics, StorageMetrics};
// Names that an implementation of the contract needs.
pub use async_trait::async_trait;
pub use futures::stream::BoxStream;
pub use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId, TraceQuery};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
