//! The ClickHouse backend against a real server.

mod cluster;
mod contract;
mod faults;
mod metrics;
pub mod proxy;
mod queries;
mod reading;
#[cfg(feature = "maintenance")]
mod retention;
mod schema;
mod sql;

use std::sync::Arc;

use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage};

use crate::server_cases::{event, trace};
use crate::servers::ClickHouse;

/// For a new database in this server.
pub fn config(server: &ClickHouse) -> ClickHouseConfig {
    ClickHouseConfig { url: server.url(), database: server.database(), ..ClickHouseConfig::default() }
}

/// A store in a new database of the server that tests share.
async fn storage() -> (Arc<ClickHouse>, ClickHouseConfig, ClickHouseStorage) {
    let server = ClickHouse::shared();
    let config = config(&server);
    let storage = ClickHouseStorage::with_config(config.clone()).await.unwrap();
    (server, config, storage)
}

/// What a statement answers in which `{}` stands for the database of `config`.
fn query(server: &ClickHouse, config: &ClickHouseConfig, statement: &str) -> String {
    server.query(&statement.replace("{}", &config.database))
}
