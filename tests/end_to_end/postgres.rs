//! A host on PostgreSQL.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use reflow_tracing_protocol::{FlowId, FlowVersion, TraceEvent, TraceId, TracingRequest, TracingResponse};
use reflow_tracing_tests::servers::Postgres;
use reflow_tracing_tests::{Backend, Host, Setting, fixture};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const EVENTS: usize = 500;

fn on_postgres(server: &Postgres, settings: &str) -> Setting {
    let setting = Setting::new(Backend::Sqlite);
    setting.write(&format!(
        "[server]\nport = 0\n[storage]\nbackend = \"postgres\"\n[storage.postgres]\nconnection_url = \"{}\"\n{settings}",
        server.url("postgres")
    ));
    setting
}

#[test]
fn a_recorded_session_comes_back_from_postgres() {
    let server = Postgres::start();
    let setting = on_postgres(&server, "enable_partitioning = true\npartition_interval = \"Monthly\"\n");
    let host = Host::start(&setting);
    let file = fixture("reflow-session.jsonl");
    setting.stdout(&["replay", file.to_str().expect("a path of ours"), "--url", &host.url]);
    host.stop();
    let traces = setting.traces();
    assert_eq!(traces.len(), 1);
    assert_eq!((traces[0].flow_id.as_str(), traces[0].events.len()), ("network_session_1795371274", 16));
    assert_eq!(server.query("SELECT count(*) FROM tracing.trace_events"), "16");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_a_host_on_postgres_is_killed() {
    let server = Postgres::start();
    let setting = on_postgres(&server, "");
    for round in 1..=3 {
        let host = Host::start(&setting);
        let (mut socket, _) = connect_async(&host.url).await.expect("the host listens");
        let version = FlowVersion { major: 1, minor: 0, patch: 0, git_hash: None, timestamp: Default::default() };
        let start = TracingRequest::StartTrace { flow_id: FlowId::new("crash"), version };
        let events = (0..EVENTS).map(|number| TracingRequest::RecordEvent {
            trace_id: TraceId::new(),
            event: TraceEvent::actor_created(format!("actor {number}")),
        });
        for request in std::iter::once(start).chain(events) {
            let text = serde_json::to_string(&request).expect("Reflow writes it");
            socket.feed(Message::text(text)).await.expect("the host reads");
        }
        socket.flush().await.expect("the host reads");
        // Killed while answers are in transit.
        let awaited = EVENTS / round;
        for _ in 0..=awaited {
            let answer = tokio::time::timeout(Duration::from_secs(60), socket.next()).await;
            let answer = answer.expect("in time").expect("an answer").expect("a frame");
            match serde_json::from_str(answer.to_text().expect("text")).expect("a response") {
                TracingResponse::TraceStarted { .. } | TracingResponse::EventRecorded { success: true, .. } => {}
                other => panic!("{other:?}"),
            }
        }
        host.kill();
        let traces = setting.traces();
        assert_eq!(traces.len(), round);
        assert!(traces[0].events.len() >= awaited, "{} of {awaited} are there", traces[0].events.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_replica_dies_says_so_once_and_goes_on() {
    let primary = Postgres::start();
    let replica = primary.replica();
    let setting = on_postgres(&primary, &format!("read_replica_url = \"{}\"\n", replica.url("postgres")));
    let host = Host::start(&setting);
    let file = fixture("reflow-session.jsonl");
    setting.stdout(&["replay", file.to_str().expect("a path of ours"), "--url", &host.url]);
    let health = || {
        let (status, body) = host.get("/health");
        assert_eq!(status, 200, "{body}");
        body
    };
    until("the replica is read", async || health().contains("\"warnings\":[]")).await;

    replica.stop();
    until("the host knows", async || health().contains("instead of the replica")).await;
    for _ in 0..5 {
        assert!(health().contains("reads have used the primary"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    replica.launch();
    until("it is read again", async || health().contains("\"warnings\":[]")).await;
    let log = host.log();
    assert_eq!(log.matches("reads use the primary").count(), 1, "{log}");
    assert_eq!(log.matches("reads use it again").count(), 1, "{log}");
    host.stop();
}

async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !so().await {
        assert!(Instant::now() < patience, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn the_tables_are_created_by_hand_from_the_printed_sql() {
    let server = Postgres::start();
    let setting = on_postgres(&server, "");
    server.query(&setting.stdout(&["schema", "--backend", "postgres"]));
    assert_eq!(server.query("SELECT version FROM tracing.schema_version"), "2");
    assert!(setting.traces().is_empty());
}
