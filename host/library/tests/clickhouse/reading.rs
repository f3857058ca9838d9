//! Stores that are opened for reading only.

use chrono::Utc;
use futures::TryStreamExt;
use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage, StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{FlowTrace, TraceQuery};

use super::schema::create_version_1;
use super::{config, query, storage, trace};
use crate::server_cases;
use crate::servers::ClickHouse;

/// `config` for a user who may only read: with `readonly = 1`, not even settings can be changed.
fn as_reader(config: &ClickHouseConfig, user: &str) -> ClickHouseConfig {
    ClickHouseConfig { username: Some(user.into()), read_only: true, ..config.clone() }
}

async fn assert_reads(storage: &ClickHouseStorage, expected: &FlowTrace) {
    let all = TraceQuery::default();
    assert_eq!(storage.query_traces(all.clone()).await.unwrap(), std::slice::from_ref(expected));
    assert_eq!(storage.get_trace(expected.trace_id).await.unwrap().as_ref(), Some(expected));
    assert_eq!(storage.get_events(expected.trace_id).await.unwrap(), expected.events);
    let streamed: Vec<_> = storage.stream_events(expected.trace_id).try_collect().await.unwrap();
    assert_eq!(streamed, expected.events);
    assert_eq!(storage.stream_traces(all.clone()).try_collect::<Vec<_>>().await.unwrap().len(), 2);
    let with_event = TraceQuery { actor_filter: Some(String::new()), has_error: Some(false), ..all.clone() };
    assert_eq!(storage.query_traces(with_event).await.unwrap(), std::slice::from_ref(expected));
    assert!(storage.get_headers(vec![expected.trace_id]).await.unwrap()[0].is_some());
    assert_eq!(storage.count_traces(all).await.unwrap(), 1);
    assert_eq!(storage.stats().await.unwrap().events, expected.events.len() as u64);
    assert_eq!(storage.flow_versions(expected.flow_id.clone()).await.unwrap(), std::slice::from_ref(&expected.version));
    assert_eq!(storage.headerless_traces(None, 10).await.unwrap(), []);
    storage.health_check().await.unwrap();
}

#[tokio::test]
async fn users_who_may_only_read_read_a_store_and_can_not_write() {
    let (_server, config, storage) = storage().await;
    let mut stored = trace(Utc::now());
    stored.more.insert("newer", 1.into());
    stored.events[0].more.insert("newer", 2.into());
    storage.store_trace(stored.clone()).await.unwrap();
    storage.close().await.unwrap();
    for user in ["reader", "strict", "default"] {
        let storage = ClickHouseStorage::with_config(as_reader(&config, user)).await.unwrap();
        assert_reads(&storage, &stored).await;
        for error in [
            storage.store_trace(stored.clone()).await.unwrap_err(),
            storage.store_event(stored.trace_id, stored.events[0].clone()).await.unwrap_err(),
            storage.delete_trace(stored.trace_id).await.unwrap_err(),
            storage.delete_before(Utc::now()).await.unwrap_err(),
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
async fn large_pages_are_read_without_changing_settings() {
    let (_server, config, storage) = storage().await;
    let now = Utc::now();
    storage.store_traces((0..7_000).map(|_| trace(now)).collect()).await.unwrap();
    let storage = ClickHouseStorage::with_config(as_reader(&config, "strict")).await.unwrap();
    let query = TraceQuery { limit: Some(7_000), ..TraceQuery::default() };
    let traces = storage.query_traces(query).await.unwrap();
    assert_eq!((traces.len(), traces.iter().filter(|trace| trace.events.is_empty()).count()), (7_000, 0));
    let ids = traces.iter().map(|trace| trace.trace_id).collect();
    assert_eq!(storage.get_headers(ids).await.unwrap().iter().flatten().count(), 7_000);
}

#[tokio::test]
async fn tables_of_version_1_are_read_and_not_migrated() {
    let server = ClickHouse::shared();
    let config = config(&server);
    create_version_1(&server, &config);
    let columns = "start_time, trace_id, flow_id, execution_id, status, version, metadata";
    query(
        &server,
        &config,
        &format!(
            "INSERT INTO {{}}.traces ({columns}) VALUES (5, '00000000-0000-0000-0000-000000000001', 'f', \
             '00000000-0000-0000-0000-000000000002', 'Running', \
             '{{\"major\":1,\"minor\":0,\"patch\":0,\"git_hash\":null,\"timestamp\":\"1970-01-01T00:00:00Z\"}}', \
             '{{\"user_id\":null,\"session_id\":null,\"environment\":\"\",\"hostname\":\"\",\"process_id\":0,\
             \"thread_id\":\"\",\"tags\":{{ }}}}')"
        ),
    );
    let storage = ClickHouseStorage::with_config(as_reader(&config, "strict")).await.unwrap();
    let read = storage.query_traces(TraceQuery::default()).await.unwrap().pop().unwrap();
    assert_eq!(read.events[0].data.performance_metrics.queue_depth, Some(4));
    assert_reads(&storage, &read).await;
    storage.close().await.unwrap();
    assert_eq!(query(&server, &config, "SELECT max(version) FROM {}.schema_version"), "1");
    // Migrated, it reads the same.
    assert_reads(&ClickHouseStorage::with_config(config).await.unwrap(), &read).await;
}

#[tokio::test]
async fn a_missing_store_is_an_error_and_stays_missing() {
    let server = ClickHouse::shared();
    let config = ClickHouseConfig { read_only: true, database: "nowhere".into(), ..config(&server) };
    let message = server_cases::refusal(ClickHouseStorage::with_config(config).await);
    for part in ["has no tables of this program", "nowhere", "reflow-tracing serve"] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    assert_eq!(server.query("EXISTS DATABASE nowhere"), "0");
}
