//! How the tables come to be, and which are refused.

use chrono::DateTime;
use futures::future::join_all;
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageBackendExt, StorageError};

use super::{config, query, quoted, trace};
use crate::servers::Postgres;

async fn refusal(config: PostgresConfig) -> String {
    match PostgresStorage::with_config(config).await {
        Err(StorageError::Configuration(message)) => message,
        Err(other) => panic!("expected a matter of configuration, found {other:?}"),
        Ok(_) => panic!("it must not open"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_hosts_start_at_once_on_an_empty_database() {
    let server = Postgres::shared();
    for enable_partitioning in [false, true] {
        let config = PostgresConfig { enable_partitioning, max_connections: 2, ..config(&server) };
        let hosts = join_all((0..10).map(|_| PostgresStorage::with_config(config.clone()))).await;
        let hosts: Vec<_> = hosts.into_iter().map(Result::unwrap).collect();
        let stored = trace(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
        for written in join_all(hosts.iter().map(|host| host.store_trace(stored.clone()))).await {
            written.unwrap();
        }
        for host in &hosts {
            assert_eq!(host.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));
        }
        assert_eq!(hosts[0].stats().await.unwrap().events, 1);
        assert_eq!(query(&server, &config, "SELECT count(*) FROM schema_version"), "1");
    }
}

#[tokio::test]
async fn a_role_that_may_create_nothing_works_with_tables_made_by_hand() {
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
async fn a_newer_or_older_version_is_refused_with_both_numbers() {
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
async fn a_change_of_partitioning_is_refused() {
    let server = Postgres::shared();
    for enable_partitioning in [false, true] {
        let config = PostgresConfig { enable_partitioning, ..config(&server) };
        PostgresStorage::with_config(config.clone()).await.unwrap().close().await.unwrap();
        let message = refusal(PostgresConfig { enable_partitioning: !enable_partitioning, ..config }).await;
        assert!(message.contains(&format!("`enable_partitioning = {enable_partitioning}`")), "{message}");
    }
}

#[tokio::test]
async fn tables_of_another_program_are_refused_and_not_changed() {
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
    for error in [
        storage.health_check().await.unwrap_err(),
        storage.store_trace(trace(chrono::Utc::now())).await.unwrap_err(),
        storage.query_traces(Default::default()).await.unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Configuration(_)), "{error:?}");
        assert!(error.to_string().contains("reflow-tracing schema"), "{error}");
    }
}

#[tokio::test]
async fn invalid_settings_are_refused_by_name() {
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
