//! A host on ClickHouse.

use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage};
use reflow_tracing_tests::servers::ClickHouse;
use reflow_tracing_tests::{Backend, Host, Setting, fixture};

use crate::repeated_crash::is_killed_again_and_again;

fn on_clickhouse(server: &ClickHouse, database: &str, settings: &str) -> Setting {
    let setting = Setting::new(Backend::Sqlite);
    setting.write(&format!(
        "[server]\nport = 0\n[storage]\nbackend = \"clickhouse\"\n[storage.clickhouse]\nurl = \"{}\"\n\
         database = \"{database}\"\n{settings}",
        server.url()
    ));
    setting
}

#[test]
fn a_recorded_session_comes_back_from_clickhouse() {
    let server = ClickHouse::shared();
    let setting = on_clickhouse(&server, "recorded", "retention_days = 3650\ncompression = \"none\"\n");
    let host = Host::start(&setting);
    let file = fixture("reflow-session.jsonl");
    setting.stdout(&["replay", file.to_str().expect("a path of ours"), "--url", &host.url]);
    host.stop();
    let traces = setting.traces();
    assert_eq!(traces.len(), 1);
    assert_eq!((traces[0].flow_id.as_str(), traces[0].events.len()), ("network_session_1795371274", 16));
    assert_eq!(server.query("SELECT uniqExact(event_id) FROM recorded.events"), "16");
    assert_eq!(server.query("SELECT sum(events) FROM recorded.event_metrics"), "16");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_however_often_a_host_on_clickhouse_is_killed() {
    let server = ClickHouse::shared();
    let setting = on_clickhouse(&server, "crash", "");
    let config = ClickHouseConfig { url: server.url(), database: "crash".into(), ..ClickHouseConfig::default() };
    let open = async || ClickHouseStorage::with_config(config.clone()).await.expect("the server runs");
    is_killed_again_and_again(&setting, 10, open).await;
}

#[test]
fn clickhouse_tables_are_created_by_hand_from_the_printed_sql() {
    let server = ClickHouse::shared();
    let setting = on_clickhouse(&server, "by hand", "");
    let sql = setting.stdout(&["schema", "--backend", "clickhouse"]);
    for statement in sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        server.query(statement);
    }
    assert_eq!(server.query("SELECT version FROM `by hand`.schema_version"), "3");
    assert!(setting.traces().is_empty());
}

#[test]
fn a_host_without_its_clickhouse_names_the_address() {
    let setting = Setting::new(Backend::Sqlite);
    setting.write("[storage]\nbackend = \"clickhouse\"\n[storage.clickhouse]\nurl = \"http://127.0.0.1:1\"\n");
    let said = setting.failure(&["serve"]);
    for part in ["clickhouse", "http://127.0.0.1:1", "is the server running"] {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
}
