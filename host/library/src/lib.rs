//! A store for the execution traces of Reflow programs: programs made of actors that exchange messages.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), reflow_tracing::storage::StorageError> {
//! use reflow_tracing::storage::{MemoryStorage, StorageBackend};
//! use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceQuery};
//!
//! let storage = MemoryStorage::new();
//! let trace = FlowTrace::new(FlowId::new("invoices"), FlowVersion::default());
//! let trace_id = trace.trace_id;
//! storage.store_trace(trace).await?;
//! storage.store_event(trace_id, TraceEvent { actor_id: "parser".into(), ..Default::default() }).await?;
//!
//! let found = storage.query_traces(TraceQuery { actor_filter: Some("parser".into()), ..Default::default() }).await?;
//! assert_eq!(found[0].trace_id, trace_id);
//! # Ok(())
//! # }
//! ```
//!
//! This package is a facade: each part is a package of its own, and a program compiles those whose features it names.
//!
//! | feature | what it adds |
//! |---|---|
//! | (none) | the data model, the storage contract, layers for retries and time limits, [`MemoryStorage`](storage::MemoryStorage), [`spans`] |
//! | `migration` (default) | [`migration`]: copying between any two backends, export and import |
//! | `maintenance` (default) | [`maintenance`]: health and retention |
//! | `sqlite`, `postgres`, `clickhouse` | the backend of that name |
//! | `spool` | a layer that keeps writes in a file while a backend is away |
//! | `plugins` | [`plugin`]: backends that are WebAssembly components |
//! | `conformance` | [`storage::conformance`]: the suite that every backend passes |
//! | `redis` | errors of the crate `redis` become [`StorageError`](storage::StorageError)s |

pub use reflow_tracing_model::{
    CausalityInfo, EventId, ExecutionId, ExecutionStatus, FlowId, FlowTrace, FlowVersion, InvalidValue, MAX_NAME_BYTES,
    MessageSnapshot, PerformanceMetrics, RECEIVED_TAG, SortOrder, StateDiff, StateDiffType, TraceEvent, TraceEventData,
    TraceEventKind, TraceEventType, TraceId, TraceMetadata, TracePage, TraceQuery,
};

pub mod storage;

/// Health and retention, for any backend.
#[cfg(feature = "maintenance")]
pub use reflow_tracing_maintenance as maintenance;
/// Copies between any two backends, exports and imports.
#[cfg(feature = "migration")]
pub use reflow_tracing_migration as migration;
/// Backends that are WebAssembly components.
#[cfg(feature = "plugins")]
pub use reflow_tracing_plugin_host as plugin;

/// What the actors of a trace did: activations, latencies, the critical path, the first failure.
pub use reflow_tracing_spans as spans;

/// The example of this package's README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct PackageReadme;

/// The examples of the README, compiled.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Those of the page on migration.
#[cfg(all(doctest, feature = "sqlite", feature = "postgres", feature = "migration"))]
#[doc = include_str!("../../../docs/migration.md")]
struct MigrationPage;
