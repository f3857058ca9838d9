//! Stores that are opened for reading only.

use futures::TryStreamExt;
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{FlowTrace, TraceQuery};

use super::schema::create_version_1;
use super::{config, query, quoted, trace};
use crate::server_cases;
use crate::servers::Postgres;

/// `config` for a role that may only read.
fn as_reader(server: &Postgres, config: &PostgresConfig) -> PostgresConfig {
    let schema = quoted(&config.schema_name);
    server.query(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO locked; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO locked"
    ));
    PostgresConfig {
        connection_url: server.url("locked").replace("locked@", "locked:secret@"),
        read_only: true,
        ..config.clone()
    }
}

async fn assert_reads(storage: &PostgresStorage, expected: &FlowTrace) {
    let all = TraceQuery::default();
    assert_eq!(storage.query_traces(all.clone()).await.unwrap(), std::slice::from_ref(expected));
    assert_eq!(storage.get_trace(expected.trace_id).await.unwrap().as_ref(), Some(expected));
    assert_eq!(storage.get_events(expected.trace_id).await.unwrap(), expected.events);
    let streamed: Vec<_> = storage.stream_events(expected.trace_id).try_collect().await.unwrap();
    assert_eq!(streamed, expected.events);
    assert_eq!(storage.stream_traces(all.clone()).try_collect::<Vec<_>>().await.unwrap().len(), 2);
    assert!(storage.get_headers(vec![expected.trace_id]).await.unwrap()[0].is_some());
    assert_eq!(storage.count_traces(all).await.unwrap(), 1);
    assert_eq!(storage.stats().await.unwrap().events, expected.events.len() as u64);
    assert_eq!(storage.flow_versions(expected.flow_id.clone()).await.unwrap(), std::slice::from_ref(&expected.version));
    storage.health_check().await.unwrap();
}

#[tokio::test]
async fn a_role_that_may_only_read_reads_a_store_and_can_not_write() {
    let server = Postgres::shared();
    for enable_partitioning in [false, true] {
        let config = PostgresConfig { enable_partitioning, ..config(&server) };
        let mut stored = trace(chrono::Utc::now());
        stored.more.insert("newer", 1.into());
        stored.events[0].more.insert("newer", 2.into());
        let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
        storage.store_trace(stored.clone()).await.unwrap();
        storage.close().await.unwrap();

        // A reader need not know whether there are partitions.
        let reader = PostgresConfig { enable_partitioning: false, ..as_reader(&server, &config) };
        let storage = PostgresStorage::with_config(reader).await.unwrap();
        assert_reads(&storage, &stored).await;
        for error in [
            storage.store_trace(stored.clone()).await.unwrap_err(),
            storage.store_event(stored.trace_id, stored.events[0].clone()).await.unwrap_err(),
            storage.delete_trace(stored.trace_id).await.unwrap_err(),
            storage.delete_before(chrono::Utc::now()).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, StorageError::Unsupported(_)) && error.to_string().contains("read_only"),
                "{error}"
            );
        }
        storage.flush().await.unwrap();
        storage.close().await.unwrap();
    }
}

#[tokio::test]
async fn tables_of_version_1_are_read_and_not_migrated() {
    let server = Postgres::shared();
    let config = config(&server);
    create_version_1(&server, &config);
    let storage = PostgresStorage::with_config(as_reader(&server, &config)).await.unwrap();
    let read = storage.query_traces(TraceQuery::default()).await.unwrap().pop().unwrap();
    assert_eq!(read.events[0].data.performance_metrics.queue_depth, Some(4));
    assert_reads(&storage, &read).await;
    storage.close().await.unwrap();
    assert_eq!(query(&server, &config, "SELECT version FROM schema_version"), "1");
    // Migrated, it reads the same.
    assert_reads(&PostgresStorage::with_config(config).await.unwrap(), &read).await;
}

#[tokio::test]
async fn a_missing_store_is_an_error_and_stays_missing() {
    let server = Postgres::shared();
    let config = PostgresConfig { read_only: true, ..config(&server) };
    let message = server_cases::refusal(PostgresStorage::with_config(config.clone()).await);
    for part in ["has no tables of this program", &config.schema_name, "reflow-tracing serve"] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    let name = config.schema_name.replace('\'', "''");
    assert_eq!(server.query(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{name}'")), "0");
}
