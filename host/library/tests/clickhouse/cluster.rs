//! A store that is spread over the shards of a cluster: two servers, and a proxy that does what their Keeper would.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage, EventMetricsQuery, StorageBackend, StorageError};
use reflow_tracing::{FlowTrace, TraceQuery};
use reflow_tracing_conformance::{Subject, Suite};

use super::contract::{OfCase, PATIENCE};
use super::proxy::Proxy;
use super::trace;
use crate::servers::ClickHouse;

struct Shards {
    servers: [ClickHouse; 2],
    proxy: Proxy,
}

async fn shards() -> Arc<Shards> {
    let servers = tokio::task::spawn_blocking(ClickHouse::start_cluster).await.unwrap();
    let proxy = Proxy::start(servers.iter().map(ClickHouse::address).collect()).await;
    Arc::new(Shards { servers, proxy })
}

fn config(shards: &Shards) -> ClickHouseConfig {
    // Of the same name on both, because each counts its own.
    let databases = shards.servers.each_ref().map(ClickHouse::database);
    assert_eq!(databases[0], databases[1]);
    let [database, _] = databases;
    ClickHouseConfig {
        url: shards.proxy.url.clone(),
        database,
        cluster: Some("cluster".into()),
        ..ClickHouseConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_on_a_cluster_keeps_the_contract() {
    let shards = shards().await;
    let fresh = || async {
        let (config, shards) = (config(&shards), shards.clone());
        let storage = ClickHouseStorage::with_config(config.clone()).await?;
        let over = OfCase(move || shards.servers.iter().for_each(|server| server.forget(&config.database)));
        Ok::<_, StorageError>(Subject::new(storage).keeping(over))
    };
    Suite::new().time_limit(PATIENCE).run(fresh).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_spread_over_the_shards_and_each_is_on_exactly_one() {
    let shards = shards().await;
    let storage = ClickHouseStorage::with_config(config(&shards)).await.unwrap();
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let traces: Vec<_> = (0..60)
        .map(|number| {
            let start = start + TimeDelta::seconds(number);
            FlowTrace {
                events: (0..5).map(|more| super::event(start + TimeDelta::nanoseconds(more))).collect(),
                ..trace(start)
            }
        })
        .collect();
    storage.store_traces(traces.clone()).await.unwrap();
    let database = storage_database(&shards);
    let on = |server: &ClickHouse, what: &str, table: &str| -> u64 {
        server.query(&format!("SELECT {what} FROM {database}.{table}_local")).parse().unwrap()
    };
    let [first, second] = &shards.servers;
    for table in ["traces", "events", "trace_lookup"] {
        let [one, other] = [first, second].map(|server| on(server, "uniqExact(trace_id)", table));
        assert!(one > 0 && other > 0 && one + other == 60, "{table}: {one} and {other} traces");
    }
    assert_eq!(on(first, "count()", "events") + on(second, "count()", "events"), 300);
    let counted = storage.events_per_minute(&EventMetricsQuery::default()).await.unwrap();
    assert_eq!(counted.iter().map(|minute| minute.events).sum::<u64>(), 300);
    assert_eq!(storage.query_traces(TraceQuery::default()).await.unwrap().len(), 60);
    assert!(storage.stats().await.unwrap().bytes.unwrap() > 0);

    // A batch whose answer got lost is known again by each shard.
    shards.proxy.lose_answers(1);
    let late = FlowTrace {
        events: (0..50).map(|more| super::event(start + TimeDelta::hours(more))).collect(),
        ..trace(start)
    };
    storage.store_trace(late).await.unwrap();
    assert_eq!(on(first, "count()", "events") + on(second, "count()", "events"), 350);
}

fn storage_database(shards: &Shards) -> String {
    shards.servers[0].query("SELECT name FROM system.databases WHERE name LIKE 'test_%'")
}

/// Those that need a Keeper run nowhere here; that the engine understands them is what can be seen.
#[tokio::test]
async fn the_engine_accepts_every_statement_for_a_cluster() {
    let server = ClickHouse::shared();
    let config = ClickHouseConfig {
        database: "traces of the cluster".into(),
        cluster: Some("my cluster".into()),
        retention_days: 30,
        ..ClickHouseConfig::default()
    };
    let sql = config.schema_sql();
    let statements: Vec<_> = sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).collect();
    assert!(statements.len() > 10);
    for statement in statements {
        server.query(&format!("SELECT formatQuery(unhex('{}'))", hex(statement)));
        if statement.starts_with("CREATE TABLE") && !statement.contains("Distributed(") {
            assert!(statement.contains("ON CLUSTER `my cluster`") && statement.contains("Replicated"), "{statement}");
        }
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
