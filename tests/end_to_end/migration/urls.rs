//! Stores named on the command line.

use std::fs;

use reflow_tracing_tests::servers::{ClickHouse, Postgres, RedisServer};
use reflow_tracing_tests::{Backend, Setting, plugin};
use rusqlite::Connection;
use serde_json::json;

use super::{figure, sqlite_with, traces};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_store_has_a_url() {
    let (server, redis, clickhouse) = (Postgres::start(), RedisServer::start(), ClickHouse::shared());
    let setting = Setting::new(Backend::Sqlite);
    fs::copy(plugin("redis"), setting.path().join("plugins/redis.wasm")).expect("a copy");
    setting.write(&format!(
        "[storage]\nbackend = \"sqlite\"\n[storage.sqlite]\ndatabase_path = \"source.db\"\n\
         [plugins.relational]\ngrants = {{ sql = {{ default = \"sqlite:relational.db\" }} }}\n\
         [plugins.redis]\ngrants = {{ redis = {{ default = \"{}\" }} }}\n",
        redis.url()
    ));
    sqlite_with(&setting.path().join("source.db"), traces(100)).await;
    let postgres = server.url("postgres");
    let clickhouse = format!("{}/by%20url", clickhouse.url().replacen("http", "clickhouse", 1));
    let first = setting.stdout(&["migrate", "--to", "plugin:redis"]);
    let mut from = "plugin:redis";
    for to in ["plugin:relational", postgres.as_str(), clickhouse.as_str(), "sqlite:end.db"] {
        let summary = setting.stdout(&["migrate", "--from", from, "--to", to, "--verify"]);
        assert_eq!(figure(&summary, "target"), figure(&first, "checksum"), "{from} to {to}");
        from = to;
    }
    let of_end = setting.stdout(&["query", "--store", "sqlite:end.db", "--limit", "3", "--format", "ndjson"]);
    assert_eq!(of_end, setting.stdout(&["query", "--limit", "3", "--format", "ndjson"]));
    assert_eq!(of_end, setting.stdout(&["query", "--store", &postgres, "--limit", "3", "--format", "ndjson"]));

    let dry = setting.stdout(&["migrate", "--to", "sqlite:never.db", "--dry-run"]);
    assert!(figure(&dry, "traces") == "100" && dry.contains("nothing was written"), "{dry}");
    assert!(!setting.path().join("never.db").exists());
    let rehearsed = setting.stdout(&["migrate", "--to", "memory:", "--verify"]);
    assert_eq!(figure(&rehearsed, "target"), figure(&first, "checksum"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_migration_is_refused_and_no_password_is_shown() {
    let setting = Setting::new(Backend::Sqlite);
    sqlite_with(&setting.path().join("source.db"), traces(3)).await;
    let said = setting.failure(&["migrate", "--from", "sqlite:missing.db", "--to", "sqlite:b.db"]);
    assert!(said.contains("missing.db"), "{said}");
    let said = setting.failure(&["migrate", "--from", "sqlite:source.db", "--to", "sqlite:./source.db"]);
    assert!(said.contains("the same store"), "{said}");
    assert!(setting.failure(&["migrate", "--from", "memory:", "--to", "sqlite:b.db"]).contains("host process"));
    assert!(setting.failure(&["migrate", "--from", "sqlite:source.db", "--to", "plugin:nobody"]).contains("nobody"));
    assert!(setting.failure(&["migrate", "--to", "traces.db"]).contains("sqlite:PATH"));
    for url in [
        "postgresql://me:s3cret@127.0.0.1:1/d",
        "postgresql://me@127.0.0.1:1/d?password=s3cret",
        "clickhouse://me:s3cret@127.0.0.1:1/d",
    ] {
        let said = setting.failure(&["migrate", "--from", "sqlite:source.db", "--to", url]);
        assert!(said.contains("127.0.0.1:1") && !said.contains("s3cret"), "{said}");
    }
    assert!(!setting.path().join("b.db").exists() && !setting.path().join("missing.db").exists());
}

#[test]
fn a_file_of_an_older_server_is_recognised_and_migrated() {
    let setting = Setting::new(Backend::Sqlite);
    let old = Connection::open(setting.path().join("old.db")).expect("a new file");
    old.execute_batch(
        "CREATE TABLE traces (
             trace_id TEXT PRIMARY KEY, flow_id TEXT NOT NULL, execution_id TEXT NOT NULL, status TEXT NOT NULL,
             start_time INTEGER NOT NULL, end_time INTEGER, data BLOB NOT NULL,
             compressed BOOLEAN NOT NULL DEFAULT FALSE, size_bytes INTEGER NOT NULL);
         CREATE TABLE trace_events (
             event_id TEXT PRIMARY KEY, trace_id TEXT NOT NULL, actor_id TEXT NOT NULL, event_type TEXT NOT NULL,
             timestamp INTEGER NOT NULL, data BLOB NOT NULL, compressed BOOLEAN NOT NULL DEFAULT FALSE);",
    )
    .expect("the tables of an older server");
    let mut expected = Vec::new();
    for (number, mut trace) in traces(30).into_iter().enumerate() {
        // Most of these times are centuries away.
        trace.start_time = chrono::DateTime::from_timestamp(1_700_000_000 + number as i64, 5).expect("a time");
        let json = serde_json::to_vec(&trace).expect("JSON");
        old.execute(
            "INSERT INTO traces VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, FALSE, ?7)",
            rusqlite::params![
                trace.trace_id.to_string(),
                trace.flow_id.0,
                trace.execution_id.to_string(),
                json!(trace.status).to_string(),
                trace.start_time.timestamp(),
                json,
                json.len() as i64
            ],
        )
        .expect("stored");
        expected.push(trace);
    }
    let summary = setting.stdout(&["migrate", "--from", "sqlite:old.db", "--to", "sqlite:new.db", "--verify"]);
    assert_eq!(figure(&summary, "traces"), "30");
    assert_eq!(figure(&summary, "source"), figure(&summary, "target"));
    let found = setting.stdout(&["query", "--store", "sqlite:new.db", "--oldest-first", "--format", "json"]);
    let found: Vec<reflow_tracing::FlowTrace> = serde_json::from_str(&found).expect("traces");
    assert!(found == expected);

    let said = setting.failure(&["migrate", "--from", "sqlite:new.db", "--to", "sqlite:old.db"]);
    assert!(said.contains("can only be read"), "{said}");
    old.execute("UPDATE traces SET data = 'x' WHERE rowid = 7", []).expect("damaged");
    let output = setting.run(&["migrate", "--from", "sqlite:old.db", "--to", "sqlite:rest.db"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("traces, row 7"), "{said}");
    assert_eq!(figure(&String::from_utf8_lossy(&output.stdout), "traces"), "29");
}
