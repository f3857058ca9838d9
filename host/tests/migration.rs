//! From store to store.

use reflow_tracing::migration::{MigrationReport, StorageMigrator};
use reflow_tracing::storage::{MemoryStorage, SqliteStorage, StorageBackend};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceQuery};

async fn filled(traces: usize) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for number in 0..traces {
        let events = (0..number % 7).map(|_| TraceEvent { actor_id: format!("actor {number}"), ..Default::default() });
        let flow_id = FlowId::new(format!("flow {}", number % 3));
        let trace = FlowTrace { events: events.collect(), ..FlowTrace::new(flow_id, FlowVersion::default()) };
        storage.store_trace(trace).await.unwrap();
    }
    storage
}

async fn everything(storage: &impl StorageBackend) -> Vec<FlowTrace> {
    storage.query_traces(TraceQuery { limit: Some(TraceQuery::MAX_LIMIT), ..Default::default() }).await.unwrap()
}

#[tokio::test]
async fn every_trace_is_copied_as_it_was_and_copied_again_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("target.db");
    let source = filled(1_234).await;
    let expected = everything(&source).await;
    let events = expected.iter().map(|trace| trace.events.len() as u64).sum();

    let migrator = StorageMigrator::new(source, SqliteStorage::new(&file).await.unwrap());
    for _ in 0..2 {
        assert_eq!(migrator.migrate_all_traces().await.unwrap(), MigrationReport { traces: 1_234, events });
        assert!(everything(&SqliteStorage::new(&file).await.unwrap()).await == expected);
    }
}
