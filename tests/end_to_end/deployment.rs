//! Hosts as they are deployed: in Kubernetes, with the configuration of Reflow's own server, with probes.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use reflow_tracing_tests::{Backend, Host, Setting};
use serde_json::Value;

use crate::wire::Connection;

fn json(answer: (u16, String)) -> (u16, Value) {
    (answer.0, serde_json::from_str(&answer.1).unwrap_or_else(|_| panic!("not JSON: {}", answer.1)))
}

/// The `HOST:PORT` of the second listener.
fn operations_address(host: &Host) -> String {
    let log = host.log();
    let line =
        log.lines().find(|line| line.contains("metrics and health are also on")).unwrap_or_else(|| panic!("{log}"));
    line.rsplit("http://").next().expect("a URL").trim().to_owned()
}

#[test]
fn a_host_starts_beside_a_service_of_its_name_in_kubernetes_and_beside_clients() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start_with_variables(
        &setting,
        &[
            ("REFLOW_TRACING_SERVICE_HOST", "10.96.0.17"),
            ("REFLOW_TRACING_SERVICE_PORT", "8080"),
            ("REFLOW_TRACING_SERVICE_PORT_WS", "8080"),
            ("REFLOW_TRACING_PORT", "tcp://10.96.0.17:8080"),
            ("REFLOW_TRACING_PORT_8080_TCP", "tcp://10.96.0.17:8080"),
            ("REFLOW_TRACING_PORT_8080_TCP_PROTO", "tcp"),
            ("REFLOW_TRACING_PORT_8080_TCP_PORT", "8080"),
            ("REFLOW_TRACING_PORT_8080_TCP_ADDR", "10.96.0.17"),
            ("REFLOW_TRACING_ENABLED", "true"),
            ("REFLOW_TRACING_SERVER_URL", "ws://localhost:8080"),
            ("REFLOW_TRACING_BATCH_SIZE", "50"),
        ],
    );
    assert_eq!(host.get("/ready").0, 200);
    let refused = setting.command(&["query"]).env("REFLOW_TRACING_SQLITE_PAHT", "x").output().expect("it starts");
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("did you mean `REFLOW_TRACING_SQLITE_PATH`?"), "{error}");
}

#[test]
fn the_configuration_of_reflows_server_works() {
    let setting = Setting::new(Backend::Sqlite);
    std::fs::remove_file(setting.path().join("reflow_tracing.toml")).expect("it is there");
    std::fs::create_dir(setting.path().join("config")).expect("a new folder");
    let config = r#"
[server]
host = "127.0.0.1"
port = 0
max_connections = 2
websocket_buffer_size = 1048576

[storage]
backend = "sqlite"

[storage.sqlite]
database_path = "reflow.db"
wal_mode = true
synchronous = "NORMAL"
cache_size = -2000
temp_store = "MEMORY"

[compression]
enabled = true
algorithm = "zstd"
level = 3

[metrics]
enabled = true
port = 0
endpoint = "/metrics"
"#;
    std::fs::write(setting.path().join("config/reflow_tracing.toml"), config).expect("a file of ours");
    let host = Host::start(&setting);
    let log = host.log();
    for part in ["config/reflow_tracing.toml", "`websocket_buffer_size`", "`[compression]`"] {
        assert!(log.contains(part), "{part} is missing in: {log}");
    }
    assert!(setting.path().join("reflow.db").exists());
}

#[tokio::test]
async fn one_connection_too_many_is_refused_until_another_ends() {
    let setting = Setting::new(Backend::Sqlite);
    setting.write("[server]\nport = 0\nmax_connections = 2\n");
    let host = Host::start(&setting);
    let mut first = Connection::open(&host.url).await;
    let second = Connection::open(&host.url).await;
    let refused = tokio_tungstenite::connect_async(&host.url).await.expect_err("there are two");
    assert!(refused.to_string().contains("503"), "{refused}");
    assert_eq!(host.get("/ready").0, 200, "probes are not counted");
    assert!(host.get("/metrics").1.contains("refused_connections_total 1"));
    first.start_trace("f").await;
    drop(second);
    let patience = Instant::now() + Duration::from_secs(30);
    while tokio_tungstenite::connect_async(&host.url).await.is_err() {
        assert!(Instant::now() < patience, "a place does not become free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_second_port_serves_metrics_and_health_only() {
    let setting = Setting::new(Backend::Sqlite);
    setting.write("[server]\nport = 0\n[metrics]\nport = 0\nendpoint = \"/figures\"\n");
    let host = Host::start(&setting);
    let address = operations_address(&host);
    let (status, metrics) = Host::get_from(&address, "/figures");
    assert!(status == 200 && metrics.contains("reflow_tracing_build_info"), "{status} {metrics}");
    for path in ["/health", "/ready", "/live"] {
        assert_eq!(Host::get_from(&address, path).0, 200, "{path}");
    }
    for path in ["/", "/metrics", "/api/v1/plugins"] {
        let (status, text) = Host::get_from(&address, path);
        assert!(status == 404 && text.contains("/figures"), "{path}: {status} {text}");
    }
    assert_eq!(host.get("/figures").0, 200);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    setting.write(&format!("[server]\nport = 0\n[metrics]\nport = {port}\n"));
    let error = setting.failure(&["serve"]);
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("`[metrics]`"), "{error}");
}

#[test]
fn metrics_can_be_turned_off() {
    let setting = Setting::new(Backend::Sqlite);
    setting.write("[server]\nport = 0\n[metrics]\nenabled = false\nport = 0\n");
    let host = Host::start(&setting);
    assert_eq!(host.get("/metrics").0, 426);
    assert_eq!(host.get("/health").0, 200);
    assert!(!host.log().contains("metrics and health are also on"));
}

#[test]
fn the_probes_say_what_they_checked() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let (status, body) = json(host.get("/ready"));
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["checks"], serde_json::json!({"tasks": "ok", "store": "ok", "shutdown": "ok"}));
    assert_eq!(json(host.get("/health")).1["checks"], serde_json::json!({"tasks": "ok", "store": "ok"}));
    assert_eq!(json(host.get("/live")).1["checks"], serde_json::json!({"tasks": "ok"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_asked_to_stop_is_not_ready_before_it_refuses_connections() {
    let setting = Setting::new(Backend::Sqlite);
    setting.write("[server]\nport = 0\nshutdown_delay = \"3s\"\n[metrics]\nport = 0\n");
    let host = Host::start(&setting);
    let operations = operations_address(&host);
    assert_eq!(host.get("/ready").0, 200);
    host.terminate();
    let patience = Instant::now() + Duration::from_secs(2);
    while host.get("/ready").0 == 200 {
        assert!(Instant::now() < patience, "it stays ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (status, body) = json(host.get("/ready"));
    assert_eq!((status, &body["status"]), (503, &Value::from("stopping")));
    assert_eq!((host.get("/health").0, host.get("/live").0), (200, 200));
    assert_eq!(Host::get_from(&operations, "/ready").0, 503);
    Connection::open(&host.url).await.start_trace("late").await;
    host.wait();
}

#[cfg(unix)]
#[tokio::test]
async fn a_connection_without_a_request_does_not_delay_the_end_of_a_host() {
    use std::io::Write;

    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let mut connection = Connection::open(&host.url).await;
    connection.start_and_record("open").await;
    let connect = || TcpStream::connect(host.url.trim_start_matches("ws://")).expect("the host listens");
    let (_idle, mut half) = (connect(), connect());
    half.write_all(b"GET / HTTP/1.1\r\nHo").expect("the host is there");
    let start = Instant::now();
    host.stop();
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    assert_eq!(setting.traces()[0].events.len(), 1);
}

#[cfg(unix)]
#[test]
fn a_host_that_waits_for_its_database_ends_when_it_is_asked_to() {
    let setting = Setting::empty();
    // It accepts connections and never answers.
    let database = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = database.local_addr().expect("it is bound");
    setting.write(&format!(
        "[server]\nport = 0\n[storage]\nbackend = \"postgres\"\n[storage.postgres]\n\
         connection_url = \"postgresql://x@{address}/x\"\nconnection_timeout_ms = 30000\n"
    ));
    let mut host = setting.command(&["serve"]).spawn().expect("the program starts");
    let _asked = database.accept().expect("it asks for its database");
    let sent = Command::new("kill").args(["-TERM", &host.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
    let status = host.wait().expect("it is ours");
    assert!(status.success(), "the host ended with {status}");
}
