//! The examples of Reflow's page "Storage Backends", as a reader pastes them: in a file whose only import is everything in
//! `reflow_tracing::storage`, beside what an example imports itself. A comment marks each change that Rust requires.
//! `pasted` compiles the examples word for word; the other modules run them.

#[cfg(all(feature = "clickhouse", unix))]
mod clickhouse;
mod memory;
#[cfg(all(feature = "sqlite", feature = "migration"))]
mod migration;
mod monitoring;
#[cfg(all(feature = "sqlite", feature = "postgres", feature = "clickhouse"))]
mod pasted;
#[cfg(all(feature = "postgres", unix))]
mod postgres;
#[cfg(all(feature = "redis", unix))]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

use reflow_tracing::storage::StorageBackend;
use reflow_tracing::{FlowTrace, TraceEvent, TraceQuery};

/// Checks that the example's storage stores and returns a trace.
async fn works(storage: &dyn StorageBackend) {
    let trace = FlowTrace { events: vec![TraceEvent::default()], ..FlowTrace::default() };
    let (trace_id, later) = (trace.trace_id, TraceEvent { timestamp: chrono::Utc::now(), ..TraceEvent::default() });
    storage.health_check().await.unwrap();
    storage.store_trace(trace.clone()).await.unwrap();
    storage.store_event(trace_id, later.clone()).await.unwrap();
    let expected = FlowTrace { events: vec![trace.events[0].clone(), later], ..trace };
    assert_eq!(storage.get_trace(trace_id).await.unwrap().as_ref(), Some(&expected));
    assert_eq!(storage.get_events(trace_id).await.unwrap(), expected.events);
    assert_eq!(storage.query_traces(TraceQuery::default()).await.unwrap(), [expected]);
}
