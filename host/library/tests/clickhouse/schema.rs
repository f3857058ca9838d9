//! Creation of the tables, and rejection of foreign ones.

use chrono::{DateTime, TimeDelta, Utc};
use reflow_tracing::storage::{
    ClickHouseConfig, ClickHouseStorage, EventMetricsQuery, StorageBackend, StorageBackendExt,
};
use reflow_tracing::{FlowTrace, PerformanceMetrics, TraceEvent, TraceEventKind, TraceQuery};

use super::{config, event, query, storage, trace};
use crate::server_cases;
use crate::servers::ClickHouse;

async fn refusal(config: ClickHouseConfig) -> String {
    server_cases::refusal(ClickHouseStorage::with_config(config).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_hosts_start_at_once_on_an_empty_server() {
    let server = ClickHouse::shared();
    let config = ClickHouseConfig { database: "ten hosts' `own`".into(), ..config(&server) };
    server_cases::ten_hosts_start_at_once(|| ClickHouseStorage::with_config(config.clone())).await;
}

#[tokio::test]
async fn a_user_without_create_permission_works_with_tables_created_by_hand() {
    let server = ClickHouse::shared();
    let config = ClickHouseConfig { database: "by_hand".into(), username: Some("reader".into()), ..config(&server) };
    let message = refusal(config.clone()).await;
    assert!(message.contains("readonly"), "{message}");
    for statement in config.schema_sql().split(";\n").filter(|statement| !statement.trim().is_empty()) {
        server.query(statement);
    }
    let storage = ClickHouseStorage::with_config(config).await.unwrap();
    assert_eq!(storage.query_traces(TraceQuery::default()).await.unwrap(), []);
}

#[tokio::test]
async fn a_newer_schema_version_is_rejected_with_both_versions() {
    let (server, config, storage) = storage().await;
    storage.close().await.unwrap();
    query(&server, &config, "INSERT INTO {}.schema_version (version, retention_days) VALUES (99, 0)");
    let message = refusal(config.clone()).await;
    for part in ["version 99", "knows 3", "newer", &config.database] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[tokio::test]
async fn each_missing_migration_runs_and_is_recorded_once() {
    let (server, config, storage) = storage().await;
    let stored = trace(Utc::now());
    storage.store_trace(stored.clone()).await.unwrap();
    assert_eq!(query(&server, &config, "SELECT version FROM {}.schema_version ORDER BY at FORMAT TSV"), "1\n2\n3");
    // As if what is there had come before the first version.
    query(&server, &config, "TRUNCATE TABLE {}.schema_version");
    query(&server, &config, "INSERT INTO {}.schema_version (version, retention_days) VALUES (0, 0)");
    for _ in 0..2 {
        let storage = ClickHouseStorage::with_config(config.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));
        assert_eq!(
            query(&server, &config, "SELECT version FROM {}.schema_version ORDER BY at FORMAT TSV"),
            "0\n1\n2\n3"
        );
    }
}

#[tokio::test]
async fn tables_of_another_program_are_rejected_and_not_changed() {
    let server = ClickHouse::shared();
    let config = config(&server);
    query(&server, &config, "CREATE TABLE {}.events (recipe String) ENGINE = MergeTree ORDER BY recipe");
    let message = refusal(config.clone()).await;
    assert!(message.contains("another program") && message.contains("`database`"), "{message}");
    assert_eq!(query(&server, &config, "SHOW TABLES FROM {}"), "events");
}

#[tokio::test]
async fn an_interrupted_creation_is_completed() {
    let (server, config, storage) = storage().await;
    storage.close().await.unwrap();
    query(&server, &config, "TRUNCATE TABLE {}.schema_version");
    query(&server, &config, "DROP VIEW {}.events_to_metrics");
    let storage = ClickHouseStorage::with_config(config.clone()).await.unwrap();
    storage.store_trace(trace(Utc::now())).await.unwrap();
    assert_eq!(query(&server, &config, "SELECT sum(events) FROM {}.event_metrics"), "1");
}

#[tokio::test]
async fn missing_tables_are_named_with_the_command_that_creates_them() {
    let (server, config, storage) = storage().await;
    query(&server, &config, "DROP DATABASE {}");
    server_cases::missing_tables_are_named(&storage).await;
}

#[tokio::test]
async fn the_server_drops_traces_older_than_the_retention() {
    let (server, config, storage) = storage().await;
    let now = Utc::now();
    let (old, new) = (trace(now - TimeDelta::days(40)), trace(now));
    // Times that the server can't add days to are old or new, too.
    let earliest = trace(DateTime::from_timestamp_nanos(i64::MIN));
    let latest = trace(DateTime::from_timestamp_nanos(i64::MAX));
    storage.store_traces(vec![old.clone(), new.clone(), earliest.clone(), latest.clone()]).await.unwrap();
    storage.close().await.unwrap();

    let with_retention = ClickHouseConfig { retention_days: 30, ..config.clone() };
    let storage = ClickHouseStorage::with_config(with_retention.clone()).await.unwrap();
    for table in ["traces", "events", "trace_lookup", "event_metrics"] {
        query(&server, &config, &format!("OPTIMIZE TABLE {{}}.{table} FINAL"));
    }
    for gone in [&old, &earliest] {
        assert_eq!(storage.get_trace(gone.trace_id).await.unwrap(), None);
        assert_eq!(storage.get_events(gone.trace_id).await.unwrap(), []);
    }
    for kept in [new, latest] {
        assert_eq!(storage.get_trace(kept.trace_id).await.unwrap(), Some(kept));
    }
    // Opened again it stays; without it, nothing expires any more.
    ClickHouseStorage::with_config(with_retention).await.unwrap().close().await.unwrap();
    let storage = ClickHouseStorage::with_config(config.clone()).await.unwrap();
    storage.store_trace(old.clone()).await.unwrap();
    query(&server, &config, "OPTIMIZE TABLE {}.events FINAL");
    assert_eq!(storage.get_trace(old.trace_id).await.unwrap(), Some(old));
    // A retention from the start is in the tables themselves.
    let from_start = ClickHouseConfig { retention_days: 7, database: server.database(), ..config };
    ClickHouseStorage::with_config(from_start.clone()).await.unwrap();
    assert!(
        query(&server, &from_start, "SHOW CREATE TABLE {}.events").contains("INTERVAL 7 DAY")
            || query(&server, &from_start, "SHOW CREATE TABLE {}.events").contains("toIntervalDay(7)")
    );
}

#[tokio::test]
async fn a_header_stored_several_times_is_read_once_before_and_after_merges() {
    let (server, config, storage) = storage().await;
    let mut stored = trace(Utc::now());
    for number in 0..4 {
        stored.metadata.hostname = format!("host {number}");
        stored.start_time += TimeDelta::days(number * 40);
        storage.store_trace(stored.clone()).await.unwrap();
    }
    let united = FlowTrace { events: vec![stored.events[0].clone()], ..stored.clone() };
    for _ in 0..2 {
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(united.clone()));
        assert_eq!(storage.query_traces(TraceQuery::default()).await.unwrap(), std::slice::from_ref(&united));
        assert_eq!(storage.count_traces(TraceQuery::default()).await.unwrap(), 1);
        query(&server, &config, "OPTIMIZE TABLE {}.traces FINAL");
    }
}

#[tokio::test]
async fn of_events_with_one_key_the_first_is_read_before_and_after_merges() {
    let (server, config, storage) = storage().await;
    let stored = trace(Utc::now());
    storage.store_trace(stored.clone()).await.unwrap();
    let other = reflow_tracing::TraceEvent { actor_id: "other".into(), ..event(stored.start_time) };
    let other = reflow_tracing::TraceEvent { event_id: stored.events[0].event_id, ..other };
    storage.store_event(stored.trace_id, other).await.unwrap();
    assert_eq!(query(&server, &config, "SELECT count() FROM {}.events"), "2");
    assert_eq!(storage.get_events(stored.trace_id).await.unwrap(), stored.events);
    query(&server, &config, "OPTIMIZE TABLE {}.events FINAL");
    assert_eq!(query(&server, &config, "SELECT count() FROM {}.events"), "1");
    assert_eq!(storage.get_events(stored.trace_id).await.unwrap(), stored.events);
}

#[tokio::test]
async fn invalid_settings_are_rejected_by_name() {
    let server = ClickHouse::shared();
    let good = config(&server);
    for (config, named) in [
        (ClickHouseConfig { url: "localhost:8123".into(), ..good.clone() }, "`url`"),
        (ClickHouseConfig { url: "http://".into(), ..good.clone() }, "`url`"),
        (ClickHouseConfig { url: "http://u:hidden@h:1".into(), ..good.clone() }, "`username`"),
        (ClickHouseConfig { url: "http://h:1/?password=hidden".into(), ..good.clone() }, "`url`"),
        (ClickHouseConfig { url: "http://h:port".into(), ..good.clone() }, "`url`"),
        (ClickHouseConfig { database: String::new(), ..good.clone() }, "`database`"),
        (ClickHouseConfig { cluster: Some(String::new()), ..good.clone() }, "`cluster`"),
        (ClickHouseConfig { password: Some("hidden".into()), ..good.clone() }, "`username`"),
        (ClickHouseConfig { batch_size: 0, ..good.clone() }, "`batch_size`"),
        (ClickHouseConfig { batch_size: 2_000_000, ..good.clone() }, "`batch_size`"),
        (ClickHouseConfig { retention_days: 20_000, ..good.clone() }, "`retention_days`"),
    ] {
        let message = refusal(config).await;
        assert!(message.contains(named) && !message.contains("hidden"), "{message}");
    }
}

/// The tables that the first version of this program created, with an event in them.
pub(super) fn create_version_1(server: &ClickHouse, config: &ClickHouseConfig) {
    let tables = include_str!("../golden/clickhouse.v1.sql").replace("`tracing`", &format!("`{}`", config.database));
    for statement in tables.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        server.query(statement);
    }
    query(
        server,
        config,
        "INSERT INTO {}.events (trace_id, timestamp, event_id, event_type, actor_id, queue_depth, root_event_id) VALUES \
         ('00000000-0000-0000-0000-000000000001', 7, '00000000-0000-0000-0000-000000000003', 'ActorStarted', 'a', 4, \
         '00000000-0000-0000-0000-000000000003')",
    );
}

#[tokio::test]
async fn tables_of_version_1_are_migrated_when_they_are_opened() {
    let server = ClickHouse::shared();
    let config = config(&server);
    create_version_1(&server, &config);
    let storage = ClickHouseStorage::with_config(config.clone()).await.unwrap();
    let trace_id = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let events = storage.get_events(trace_id).await.unwrap();
    let metrics = PerformanceMetrics { queue_depth: Some(4), ..PerformanceMetrics::ZERO };
    assert_eq!(events.iter().map(|event| &event.data.performance_metrics).collect::<Vec<_>>(), [&metrics]);
    let unmeasured = TraceEvent { timestamp: Utc::now(), ..TraceEvent::default() };
    storage.store_event(trace_id, unmeasured.clone()).await.unwrap();
    assert_eq!(storage.get_events(trace_id).await.unwrap()[1], unmeasured);
    let found = storage.event_metrics(&EventMetricsQuery::default()).await.unwrap();
    let averages: Vec<_> = found.iter().map(|found| (found.event_type, found.avg_execution_time_ns)).collect();
    assert_eq!(averages, [(TraceEventKind::ActorCreated, None), (TraceEventKind::ActorStarted, Some(0.0))]);
}
