//! Creation of the tables, and rejection of foreign ones.

use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageBackendExt};
use reflow_tracing::{PerformanceMetrics, TraceEvent};

use super::{config, query, quoted, trace};
use crate::server_cases;
use crate::servers::Postgres;

async fn refusal(config: PostgresConfig) -> String {
    server_cases::refusal(PostgresStorage::with_config(config).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_hosts_start_at_once_on_an_empty_database() {
    let server = Postgres::shared();
    for enable_partitioning in [false, true] {
        let config = PostgresConfig { enable_partitioning, max_connections: 2, ..config(&server) };
        server_cases::ten_hosts_start_at_once(|| PostgresStorage::with_config(config.clone())).await;
        assert_eq!(query(&server, &config, "SELECT count(*) FROM schema_version"), "1");
    }
}

#[tokio::test]
async fn a_role_without_create_permission_works_with_tables_created_by_hand() {
    let server = Postgres::shared();
    for (enable_partitioning, enable_gin_index) in [(false, true), (true, false)] {
        let config = PostgresConfig { enable_partitioning, enable_gin_index, ..config(&server) };
        let as_locked = PostgresConfig {
            connection_url: server.url("locked").replace("locked@", "locked:secret@"),
            auto_create_partitions: false,
            ..config.clone()
        };
        let message = refusal(as_locked.clone()).await;
        assert!(message.contains("permission denied") && message.contains("reflow-tracing schema"), "{message}");
        assert!(!message.contains("secret"), "{message}");

        server.query(&config.schema_sql());
        let schema = quoted(&config.schema_name);
        server.query(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO locked; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO locked"
        ));
        let storage = PostgresStorage::with_config(as_locked).await.unwrap();
        storage.health_check().await.unwrap();
        let stored = trace(chrono::Utc::now());
        storage.store_trace(stored.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored.clone()));
        assert!(storage.delete_trace(stored.trace_id).await.unwrap());
    }
}

#[tokio::test]
async fn another_schema_version_is_rejected_with_both_versions() {
    let server = Postgres::shared();
    let config = config(&server);
    PostgresStorage::with_config(config.clone()).await.unwrap().close().await.unwrap();
    for (version, age) in [(99, "newer"), (0, "older")] {
        query(&server, &config, &format!("UPDATE schema_version SET version = {version}"));
        let message = refusal(config.clone()).await;
        assert!(message.contains(&format!("version {version}")) && message.contains(age), "{message}");
    }
}

#[tokio::test]
async fn partitioning_can_not_be_changed_afterwards() {
    let server = Postgres::shared();
    for enable_partitioning in [false, true] {
        let config = PostgresConfig { enable_partitioning, ..config(&server) };
        PostgresStorage::with_config(config.clone()).await.unwrap().close().await.unwrap();
        let message = refusal(PostgresConfig { enable_partitioning: !enable_partitioning, ..config }).await;
        assert!(message.contains(&format!("`enable_partitioning = {enable_partitioning}`")), "{message}");
    }
}

#[tokio::test]
async fn tables_of_another_program_are_rejected_and_not_changed() {
    let server = Postgres::shared();
    let config = config(&server);
    let schema = quoted(&config.schema_name);
    server.query(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.trace (recipe text)"));
    let message = refusal(config.clone()).await;
    assert!(message.contains("another program") && message.contains("schema_name"), "{message}");
    let tables = "SELECT string_agg(relname, ',') FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
    // `to_regnamespace` needs quotes around this name.
    let tables = tables.replace("current_schema()::regnamespace", "quote_ident(current_schema())::regnamespace");
    assert_eq!(query(&server, &config, &tables), "trace");
}

#[tokio::test]
async fn missing_tables_are_named_with_the_command_that_creates_them() {
    let server = Postgres::shared();
    let config = config(&server);
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    server.query(&format!("DROP SCHEMA {} CASCADE", quoted(&config.schema_name)));
    server_cases::missing_tables_are_named(&storage).await;
}

#[tokio::test]
async fn invalid_settings_are_rejected_by_name() {
    let server = Postgres::shared();
    let good = config(&server);
    for (config, named) in [
        (PostgresConfig { max_connections: 0, ..good.clone() }, "max_connections"),
        (PostgresConfig { min_connections: 9, ..good.clone() }, "min_connections"),
        (PostgresConfig { connection_timeout_ms: 0, ..good.clone() }, "connection_timeout_ms"),
        (PostgresConfig { schema_name: String::new(), ..good.clone() }, "schema_name"),
        (PostgresConfig { schema_name: "s".repeat(64), ..good.clone() }, "schema_name"),
        (PostgresConfig { schema_name: "pg_mine".into(), ..good.clone() }, "schema_name"),
        (PostgresConfig { partition_retention_days: 1, ..good.clone() }, "partition_retention_days"),
        (PostgresConfig { connection_url: "mysql://u:hidden@h/d".into(), ..good.clone() }, "connection_url"),
        (PostgresConfig { connection_url: "postgresql://u:hidden@h:port/d".into(), ..good.clone() }, "connection_url"),
    ] {
        let message = refusal(config).await;
        assert!(message.contains(named) && !message.contains("hidden"), "{message}");
    }
}

/// The tables that the first version of this program created, with a trace in them.
pub(super) fn create_version_1(server: &Postgres, config: &PostgresConfig) {
    let tables = include_str!("../golden/postgres.v1.sql");
    server.query(&tables.replace("\"tracing\"", &quoted(&config.schema_name)));
    query(
        server,
        config,
        r#"INSERT INTO trace (trace_id, placed_at, flow_id, execution_id, start_time, status, version, metadata, tags)
           VALUES ('00000000-0000-0000-0000-000000000001', 5, 'f', '00000000-0000-0000-0000-000000000002', 5, 'Running',
               '{"major":1,"minor":0,"patch":0,"git_hash":null,"timestamp":"1970-01-01T00:00:00Z"}',
               '{"user_id":null,"session_id":null,"environment":"","hostname":"","process_id":0,"thread_id":"","tags":{}}',
               '{}');
           INSERT INTO event (trace, placed_at, occurred_at, event_id, kind, actor, queue_depth, root_event_id, span_text)
           SELECT seq, 5, 7, '00000000-0000-0000-0000-000000000003', 'ActorStarted', 'a', 4,
               '00000000-0000-0000-0000-000000000003', '' FROM trace"#,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_version_1_are_migrated_when_they_are_opened() {
    let server = Postgres::shared();
    let config = config(&server);
    create_version_1(&server, &config);
    let open = || PostgresStorage::with_config(config.clone());
    let (storage, other) = tokio::join!(open(), open());
    let (storage, other) = (storage.unwrap(), other.unwrap());
    assert_eq!(query(&server, &config, "SELECT version FROM schema_version"), "2");

    let trace_id = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let events = storage.get_events(trace_id).await.unwrap();
    let metrics = PerformanceMetrics { queue_depth: Some(4), ..PerformanceMetrics::ZERO };
    assert_eq!(events.iter().map(|event| &event.data.performance_metrics).collect::<Vec<_>>(), [&metrics]);
    let unmeasured = TraceEvent { timestamp: chrono::Utc::now(), ..TraceEvent::default() };
    other.store_event(trace_id, unmeasured.clone()).await.unwrap();
    assert_eq!(storage.get_events(trace_id).await.unwrap()[1], unmeasured);
    let shown = "SELECT coalesce(execution_time_ns::text, 'unmeasured') FROM trace_events ORDER BY timestamp_ns";
    assert_eq!(query(&server, &config, shown), "0\nunmeasured");
}

#[tokio::test]
async fn a_role_that_can_not_migrate_gets_the_statements() {
    let server = Postgres::shared();
    let config = config(&server);
    create_version_1(&server, &config);
    let schema = quoted(&config.schema_name);
    server.query(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO locked; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO locked"
    ));
    let url = server.url("locked").replace("locked@", "locked:secret@");
    let message = refusal(PostgresConfig { connection_url: url, ..config.clone() }).await;
    for part in ["owner", "ALTER TABLE event ADD COLUMN unmeasured", "CREATE VIEW traces", &schema] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    assert_eq!(query(&server, &config, "SELECT version FROM schema_version"), "1");
    server.query(message.split_once("BEGIN;").map(|(_, statements)| format!("BEGIN;{statements}")).unwrap().as_str());
    PostgresStorage::with_config(config).await.unwrap();
}
