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
//! Rooms, each using only those before it: [`model`](crate#reexports) (pure data), [`task`] (background tasks that survive a panic), [`storage`] (the contract and the
//! built-in backends), `plugin` (backends that are WebAssembly components), `migration` (from store to store), `upkeep` (health and retention), `config`, `ingest` (sessions of senders),
//! `server` and `cli`.
//!
//! Features: `sqlite`, `postgres`, `clickhouse`, `plugins`, `server` (all on by default), `conformance` (the suite that every backend passes),
//! `redis` (errors of the crate `redis` are [`StorageError`](storage::StorageError)s).

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod ingest;
pub mod migration;
mod model;
#[cfg(feature = "plugins")]
pub mod plugin;
#[cfg(feature = "server")]
pub mod server;
pub mod storage;
pub mod task;
pub mod upkeep;

pub use model::{
    CausalityInfo, EventId, ExecutionId, ExecutionStatus, FlowId, FlowTrace, FlowVersion, InvalidValue, MAX_NAME_BYTES,
    MessageSnapshot, PerformanceMetrics, SortOrder, StateDiff, StateDiffType, TraceEvent, TraceEventData,
    TraceEventKind, TraceEventType, TraceId, TraceMetadata, TracePage, TraceQuery,
};

/// The examples of the README, compiled.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Those of the page on migration.
#[cfg(all(doctest, feature = "sqlite", feature = "postgres"))]
#[doc = include_str!("../../docs/migration.md")]
struct MigrationPage;
