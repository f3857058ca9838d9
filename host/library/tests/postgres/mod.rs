//! The PostgreSQL backend against a real server.

mod connecting;
mod contract;
mod deletion;
mod faults;
mod partitions;
mod pool;
mod queries;
mod reading;
mod replica;
mod schema;
mod tls;
mod views;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use reflow_tracing::storage::{PostgresConfig, PostgresStorage};

use crate::server_cases::{event, trace};
use crate::servers::Postgres;

/// A name that no other test uses.
pub fn fresh_schema() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("Test's \"schema\" {}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// For a new schema in this server.
pub fn config(server: &Postgres) -> PostgresConfig {
    PostgresConfig {
        connection_url: server.url("postgres"),
        schema_name: fresh_schema(),
        max_connections: 4,
        min_connections: 0,
        ..PostgresConfig::default()
    }
}

/// A store in a new schema of the server that tests share.
async fn storage() -> (Arc<Postgres>, PostgresConfig, PostgresStorage) {
    let server = Postgres::shared();
    let config = config(&server);
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    (server, config, storage)
}

/// Runs a statement with the schema of `config` as the search path; what it answers, a line a row.
fn query(server: &Postgres, config: &PostgresConfig, statement: &str) -> String {
    server.query(&format!("SET search_path TO {}; {statement}", quoted(&config.schema_name)))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
