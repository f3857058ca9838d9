//! The ClickHouse backend against a real server.

mod cluster;
mod contract;
mod faults;
mod metrics;
pub mod proxy;
mod queries;
#[cfg(feature = "maintenance")]
mod retention;
mod schema;
mod sql;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage};
use reflow_tracing::{FlowTrace, TraceEvent, TraceId};

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

/// An event of this time.
fn event(time: DateTime<Utc>) -> TraceEvent {
    TraceEvent { timestamp: time, actor_id: "actor".into(), ..TraceEvent::default() }
}

/// A trace that starts at this time, with one event of that time.
fn trace(start_time: DateTime<Utc>) -> FlowTrace {
    FlowTrace { trace_id: TraceId::new(), start_time, events: vec![event(start_time)], ..FlowTrace::default() }
}
