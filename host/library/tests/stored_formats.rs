//! Files of earlier versions of this program, which stay readable.

use std::path::{Path, PathBuf};

use reflow_tracing::migration::Backup;
use reflow_tracing::storage::{MemoryStorage, SqliteStorage, StorageBackend};
use reflow_tracing::{FlowTrace, TraceEvent, TraceQuery};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A recorded session, as the first version exported it.
async fn exported() -> Vec<FlowTrace> {
    let storage = MemoryStorage::new();
    storage.import_from_file(golden("export.v1.json")).await.unwrap();
    storage.query_traces(TraceQuery::default()).await.unwrap()
}

#[tokio::test]
async fn an_export_of_version_1_is_imported() {
    let traces = exported().await;
    assert_eq!((traces.len(), traces[0].events.len()), (1, 16));
    assert!(traces[0].events.iter().all(|event| event.data.performance_metrics.execution_time_ns.is_some()));
}

#[tokio::test]
async fn a_sqlite_file_of_version_1_is_migrated_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traces.db");
    std::fs::copy(golden("traces.v1.db"), &file).unwrap();
    // Two hosts may open it at once.
    let path = file.to_str().unwrap();
    let (storage, other) = tokio::join!(SqliteStorage::new(path), SqliteStorage::new(path));
    let (storage, other) = (storage.unwrap(), other.unwrap());
    assert_eq!(storage.query_traces(TraceQuery::default()).await.unwrap(), exported().await);

    let unmeasured = TraceEvent::default();
    let mut trace = FlowTrace { events: vec![unmeasured], ..FlowTrace::default() };
    trace.events[0].more.insert("sequence", 7.into());
    storage.store_trace(trace.clone()).await.unwrap();
    assert_eq!(other.get_trace(trace.trace_id).await.unwrap(), Some(trace));
}
