//! Backends that get every write besides the store: they are away, killed, failing, and get everything all the same.

use std::time::{Duration, Instant};

use reflow_tracing_protocol::FlowTrace;
use reflow_tracing_tests::servers::RedisServer;
use reflow_tracing_tests::{Backend, Host, Setting, plugin};
use serde_json::Value;

use crate::spool::{Load, Sent, assert_kept_in, durable_postgres, until};

/// All traces in a store, parsed with Reflow's own types.
fn traces_in(setting: &Setting, store: &str) -> Vec<FlowTrace> {
    let text = setting.stdout(&["query", "--store", store, "--format", "json"]);
    serde_json::from_str(&text).expect("an array of traces")
}

/// What `/health` says about a backend of `also`.
fn health_of(host: &Host, backend: &str) -> Value {
    let (status, body) = host.get("/health");
    assert_eq!(status, 200, "the host takes writes: {body}");
    let mut health: Value = serde_json::from_str(&body).expect("JSON");
    let all = health["also"].take();
    let found = all.as_array().expect("a list").iter().find(|also| also["backend"] == backend);
    found.unwrap_or_else(|| panic!("{backend} is missing in {body}")).clone()
}

/// How much waits for the backends of `also`.
fn queued(host: &Host) -> f64 {
    let (_, text) = host.get("/metrics");
    let of_line =
        |line: &str| line.strip_prefix("reflow_tracing_also_queued{")?.split_once("} ")?.1.parse::<f64>().ok();
    text.lines().filter_map(of_line).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarders_that_are_away_get_everything_when_they_are_back_also_after_the_host_was_killed() {
    let server = durable_postgres();
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let setting = Setting::new(Backend::Sqlite);
    std::fs::copy(plugin("redis"), setting.path().join("plugins/redis.wasm")).expect("a copy of the plugin");
    setting.write(&format!(
        "[server]\nport = 0\n[storage]\nalso = [\"postgres\", \"redis\"]\n[storage.postgres]\nconnection_url = \"{}\"\n\
         connection_timeout_ms = 1000\n[plugins.redis]\ngrants = {{ redis = {{ default = \"{}\" }} }}\n",
        server.url("postgres"),
        redis.url()
    ));
    // The host starts while both are away.
    server.stop();
    redis.kill();
    let host = Host::start(&setting);
    let load = Load::start(&host.url, "first", Duration::from_millis(1));
    load.until_more(300).await;
    until(&host, "a failed delivery", |host| health_of(host, "postgres")["status"] == "unavailable").await;
    let redis_health = health_of(&host, "redis");
    assert!(redis_health["queued"]["events"].as_u64() >= Some(300), "{redis_health}");
    host.kill();
    let mut sent = load.end().await;

    // The next host starts with one of them, and is killed while it delivers.
    redis.start_again();
    let host = Host::start(&setting);
    let load = Load::start(&host.url, "second", Duration::from_millis(1));
    load.until_more(300).await;
    host.kill();
    sent.extend(load.end().await);

    server.launch();
    let host = Host::start(&setting);
    let load = Load::start(&host.url, "third", Duration::from_millis(1));
    load.until_more(200).await;
    sent.extend(load.end().await);
    until(&host, "empty queues", |host| queued(host) == 0.0).await;
    for store in ["sqlite:traces.db", "postgresql:", "plugin:redis"] {
        let store = if store == "postgresql:" { server.url("postgres") } else { store.to_owned() };
        assert_kept_in(&traces_in(&setting, &store), &sent);
    }
    let acknowledged: u32 = sent.iter().map(|sent: &Sent| sent.acknowledged).sum();
    let doubles = server.query("SELECT count(*) - count(DISTINCT event_id) FROM tracing.trace_events");
    assert_eq!(doubles, "0");
    let (_, metrics) = host.get("/metrics");
    for part in [
        r#"reflow_tracing_also_dropped_total{backend="postgres",kind="event"} 0"#,
        r#"reflow_tracing_also_away{backend="redis"} 0"#,
    ] {
        assert!(metrics.contains(part), "{part} is missing in:\n{metrics}");
    }
    assert_eq!(health_of(&host, "postgres")["status"], "ok");
    println!("{acknowledged} events were acknowledged, and are in all three");
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_that_traps_does_not_slow_acknowledgements() {
    let setting = Setting::new(Backend::Sqlite);
    setting.write(
        "[server]\nport = 0\n[storage]\nalso = [\"hostile\"]\nalso_queue = { dir = \"queues\", max_size_mb = 8 }\n\
         [plugins.hostile]\nconfig = { trap = \"store-events\" }\n",
    );
    let host = Host::start(&setting);
    let load = Load::start(&host.url, "load", Duration::ZERO);
    let start = Instant::now();
    load.until_more(4_000).await;
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let sent = load.end().await;
    assert_kept_in(&setting.traces(), &sent);
    // What it rejects is said, and kept up to a maximum.
    until(&host, "a rejection or an outage", |host| {
        let health = health_of(host, "hostile");
        health["refused"].as_u64() > Some(0) || health["status"] == "unavailable"
    })
    .await;
    let (_, health) = host.get("/health");
    assert!(health.contains("the backend `hostile` of `also`"), "{health}");
    let (_, plugins) = host.get("/api/v1/plugins");
    assert!(plugins.contains("\"hostile\""), "{plugins}");
    host.stop();
    let doctor = setting.stdout(&["doctor"]);
    assert!(
        doctor.contains("`hostile` of `also`, queue queues/hostile: ") && doctor.contains("at most 8 MiB"),
        "{doctor}"
    );
}

#[test]
fn a_wrong_name_is_an_error_with_its_line_and_the_host_does_not_start() {
    let setting = Setting::new(Backend::Sqlite);
    setting.write("[server]\nport = 0\n[storage]\nalso = [\n  \"postgres\",\n  \"relatonal\",\n]\n");
    let message = setting.failure(&["serve"]);
    for part in ["reflow_tracing.toml, line 6", "`relatonal`", "did you mean `relational`", "[plugins.relatonal]"] {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
    assert!(!setting.path().join("traces.db").exists(), "nothing was created");
}
