//! URLs of every documented form, and poolers before the server.

use reflow_tracing::TraceQuery;
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageError};

use super::{config, trace};
use crate::servers::{PgBouncer, Postgres};

#[tokio::test]
async fn every_documented_form_of_a_url_reaches_the_server() {
    let server = Postgres::on_port(None);
    let (folder, port) = (server.socket_folder().display().to_string(), server.port());
    let encoded = folder.replace('/', "%2F");
    for connection_url in [
        format!("postgresql://postgres@127.0.0.1:{port}/postgres"),
        format!("postgres://postgres:any@localhost:{port}/postgres?sslmode=disable"),
        format!("postgresql://postgres@[::1]:{port}/postgres"),
        format!("postgresql://postgres@/postgres?host={folder}&port={port}"),
        format!("postgresql://postgres:p%2B%26@:{port}/postgres?host={folder}"),
        format!("postgresql:///postgres?host={folder}&port={port}&user=postgres"),
        format!("postgresql://postgres@{encoded}:{port}/postgres?application_name=mine&connect_timeout=3"),
    ] {
        let config = PostgresConfig { connection_url: connection_url.clone(), ..config(&server) };
        let storage =
            PostgresStorage::with_config(config).await.unwrap_or_else(|error| panic!("{connection_url}: {error}"));
        storage.health_check().await.unwrap();
        storage.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_sessions_apart_is_used() {
    let server = Postgres::shared();
    let bouncer = PgBouncer::start(&server, "session");
    let config = PostgresConfig { connection_url: bouncer.url(), ..config(&server) };
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    let stored = trace(chrono::Utc::now());
    storage.store_trace(stored.clone()).await.unwrap();
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
    let tables = super::query(&server, &config, "SELECT count(*) FROM trace");
    assert_eq!(tables, "1", "the tables are in the schema that the configuration names");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused_by_name() {
    let server = Postgres::shared();
    let bouncer = PgBouncer::start(&server, "transaction");
    for read_only in [false, true] {
        let config = PostgresConfig { connection_url: bouncer.url(), read_only, ..config(&server) };
        let error = PostgresStorage::with_config(config.clone()).await.err().expect("it is refused");
        assert!(matches!(&error, StorageError::Configuration(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("pool_mode = session") && message.contains("`connection_url`"), "{message}");
        let schema =
            format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", config.schema_name.replace('\'', "''"));
        assert_eq!(server.query(&schema), "0", "nothing was created");
    }
    // The server itself is as usable as before.
    let storage = PostgresStorage::with_config(config(&server)).await.unwrap();
    assert!(storage.query_traces(TraceQuery::default()).await.unwrap().is_empty());
}
