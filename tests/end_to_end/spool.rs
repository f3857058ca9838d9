//! Databases that become unavailable under load, behind a spool: nothing acknowledged is lost or duplicated, and no write is
//! refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use reflow_tracing_protocol::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracingRequest, TracingResponse};
use reflow_tracing_tests::servers::{Postgres, RedisServer};
use reflow_tracing_tests::{Backend, Host, Setting, plugin};
use tokio::task::JoinSet;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const CONNECTIONS: u32 = 4;

/// The length of an outage: a few seconds, or OUTAGE_SECONDS.
fn outage() -> Duration {
    Duration::from_secs(std::env::var("OUTAGE_SECONDS").map_or(3, |seconds| seconds.parse().expect("a number")))
}

/// A server whose commits survive a crash; other tests do not need that.
pub fn durable_postgres() -> Postgres {
    let server = Postgres::start();
    server.query("ALTER ROLE postgres SET synchronous_commit = on");
    server
}

/// A host with a spool on the server.
fn on_postgres(server: &Postgres) -> Setting {
    let setting = Setting::new(Backend::Sqlite);
    setting.write(&format!(
        "[server]\nport = 0\n[storage]\nbackend = \"postgres\"\nspool = \"spool\"\n[storage.postgres]\n\
         connection_url = \"{}\"\nconnection_timeout_ms = 1000\n",
        server.url("postgres")
    ));
    setting
}

/// The requests and answers of a connection, whose trace is of this flow.
pub struct Sent {
    flow: String,
    pub acknowledged: u32,
}

/// Connections that send until they are stopped or the host is gone.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU32>,
    senders: JoinSet<Sent>,
}

impl Load {
    /// `pause` is between two events of a connection.
    pub fn start(url: &str, name: &str, pause: Duration) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut senders = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let flow = format!("{name}/{connection}");
            senders.spawn(send(url.to_owned(), flow, pause, stop.clone(), acknowledged.clone()));
        }
        Self { stop, acknowledged, senders }
    }

    /// Waits until this many more events are acknowledged.
    pub async fn until_more(&self, events: u32) {
        let wanted = self.acknowledged.load(Ordering::SeqCst) + events;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.acknowledged.load(Ordering::SeqCst) < wanted {
            assert!(Instant::now() < deadline, "the host acknowledges nothing");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the connections, each once all that it sent is acknowledged or the host is gone.
    pub async fn end(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        self.senders.join_all().await
    }
}

/// Sends the events `FLOW 0`, `FLOW 1` and so on. Panics when one is refused.
async fn send(url: String, flow: String, pause: Duration, stop: Arc<AtomicBool>, all: Arc<AtomicU32>) -> Sent {
    let (socket, _) = connect_async(&url).await.expect("the host listens");
    let (mut requests, mut answers) = socket.split();
    let sent_all = AtomicBool::new(false);
    let (sent, sends) = (AtomicU32::new(0), async {
        let version = FlowVersion { major: 1, minor: 0, patch: 0, git_hash: None, timestamp: Default::default() };
        let start = TracingRequest::StartTrace { flow_id: FlowId::new(&flow), version };
        let text = |request: &TracingRequest| serde_json::to_string(request).expect("Reflow writes it");
        requests.send(Message::text(text(&start))).await?;
        let mut number = 0;
        while !stop.load(Ordering::SeqCst) {
            // Like Reflow's client: each event has its own id for the trace.
            let event = TraceEvent::actor_created(format!("{flow} {number}"));
            let request = TracingRequest::RecordEvent { trace_id: TraceId::new(), event };
            requests.send(Message::text(text(&request))).await?;
            number += 1;
            tokio::time::sleep(pause).await;
        }
        Ok::<_, tokio_tungstenite::tungstenite::Error>(number)
    });
    let mut acknowledged = 0;
    let reads = async {
        let mut started = false;
        loop {
            let complete = |acknowledged| acknowledged == sent.load(Ordering::SeqCst);
            if started && sent_all.load(Ordering::SeqCst) && complete(acknowledged) {
                return;
            }
            let answer = tokio::time::timeout(Duration::from_millis(200), answers.next()).await;
            match answer {
                // Pings are answered by the library.
                Err(_) | Ok(Some(Ok(Message::Ping(_)))) => {}
                Ok(Some(Ok(Message::Text(answer)))) => match serde_json::from_str(&answer).expect("a response") {
                    TracingResponse::TraceStarted { .. } => started = true,
                    TracingResponse::EventRecorded { success: true, .. } => {
                        acknowledged += 1;
                        all.fetch_add(1, Ordering::SeqCst);
                    }
                    other => panic!("{flow} was refused: {other:?}"),
                },
                // The host is gone.
                Ok(_) => return,
            }
        }
    };
    let sends = async {
        if let Ok(number) = sends.await {
            sent.store(number, Ordering::SeqCst);
            sent_all.store(true, Ordering::SeqCst);
        }
    };
    tokio::join!(sends, reads);
    Sent { flow, acknowledged }
}

/// The contents of the host's spool: events and headers of traces.
fn pending(host: &Host) -> f64 {
    let (_, text) = host.get("/metrics");
    let figure = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().expect("a number")
    };
    figure("reflow_tracing_spool_pending_events") + figure("reflow_tracing_spool_pending_traces")
}

pub async fn until(host: &Host, what: &str, holds: impl Fn(&Host) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds(host) {
        assert!(Instant::now() < deadline, "{what} is awaited; the host's log:\n{}", host.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks that the store holds every acknowledged event once.
fn assert_kept(setting: &Setting, all_sent: &[Sent]) {
    assert_kept_in(&setting.traces(), all_sent);
}

/// Checks that these traces hold every acknowledged event once.
pub fn assert_kept_in(traces: &[FlowTrace], all_sent: &[Sent]) {
    for Sent { flow, acknowledged } in all_sent {
        let mut numbers: Vec<u32> = traces
            .iter()
            .flat_map(|trace| &trace.events)
            .filter_map(|event| event.actor_id.strip_prefix(flow.as_str())?.strip_prefix(' ')?.parse().ok())
            .collect();
        numbers.sort_unstable();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{flow} holds an event twice");
        let kept = numbers.iter().zip(0..*acknowledged).filter(|(found, sent)| **found == *sent).count();
        assert_eq!(kept, *acknowledged as usize, "of {acknowledged} acknowledged events of {flow}");
        let of_flow: Vec<_> = traces.iter().filter(|trace| trace.flow_id.as_str() == flow).collect();
        assert!(of_flow.len() <= 1, "{} traces of {flow}", of_flow.len());
        if *acknowledged > 0 {
            assert_eq!(of_flow.first().map(|trace| trace.events.len()), Some(numbers.len()), "{flow} is in one trace");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_stopped_under_load_and_nothing_is_lost_doubled_or_refused() {
    let server = durable_postgres();
    let setting = on_postgres(&server);
    let host = Host::start(&setting);
    let load = Load::start(&host.url, "load", Duration::from_millis(2));
    load.until_more(500).await;
    assert_eq!(pending(&host), 0.0);

    server.stop();
    until(&host, "a spooled event", |host| pending(host) > 0.0).await;
    let away = Instant::now();
    while away.elapsed() < outage() {
        load.until_more(100).await;
    }
    let (status, health) = host.get("/health");
    assert!(
        status == 200 && health.contains("\"spooling\"") && health.contains("unavailable since"),
        "{status} {health}"
    );
    let (_, metrics) = host.get("/metrics");
    for part in ["reflow_tracing_storage_healthy 0", "reflow_tracing_spool_away 1"] {
        assert!(metrics.contains(part), "{part} is missing in:\n{metrics}");
    }

    server.launch();
    load.until_more(500).await;
    let sent = load.end().await;
    until(&host, "an empty spool", |host| pending(host) == 0.0).await;
    assert_kept(&setting, &sent);
    let acknowledged: u32 = sent.iter().map(|sent| sent.acknowledged).sum();
    assert_eq!(server.query("SELECT count(*) FROM tracing.trace_events"), acknowledged.to_string());
    let (status, health) = host.get("/health");
    assert!(status == 200 && health.contains("\"ok\""), "{status} {health}");
    println!("{acknowledged} events were acknowledged, and kept");
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_while_it_spools_and_while_it_drains_loses_nothing() {
    let server = durable_postgres();
    let setting = on_postgres(&server);
    let host = Host::start(&setting);
    let load = Load::start(&host.url, "first", Duration::from_millis(1));
    load.until_more(200).await;
    server.stop();
    until(&host, "a spooled event", |host| pending(host) > 0.0).await;
    load.until_more(500).await;
    host.kill();
    let mut sent = load.end().await;

    // The host starts while its database is unavailable, and accepts events.
    let host = Host::start(&setting);
    assert!(pending(&host) > 0.0);
    let load = Load::start(&host.url, "second", Duration::ZERO);
    load.until_more(15_000).await;
    server.launch();
    // After the first batch, before the last.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !host.log().contains("the backend is available again") {
        assert!(Instant::now() < deadline, "it does not drain:\n{}", host.log());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    host.kill();
    sent.extend(load.end().await);

    let host = Host::start(&setting);
    until(&host, "an empty spool", |host| pending(host) == 0.0).await;
    assert_kept(&setting, &sent);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_under_load_and_nothing_is_lost_doubled_or_refused() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let setting = Setting::new(Backend::Sqlite);
    std::fs::copy(plugin("redis"), setting.path().join("plugins/redis.wasm")).expect("a copy of the plugin");
    setting.write(&format!(
        "[server]\nport = 0\n[storage]\nbackend = \"redis\"\nspool = {{ dir = \"spool\", max_size_mb = 64 }}\n\
         [plugins.redis]\ngrants = {{ redis = {{ default = \"{}\" }} }}\nlimits = {{ call_timeout_ms = 2000 }}\n",
        server.url()
    ));
    let host = Host::start(&setting);
    let load = Load::start(&host.url, "load", Duration::from_millis(2));
    load.until_more(500).await;
    server.kill();
    until(&host, "a spooled event", |host| pending(host) > 0.0).await;
    load.until_more(500).await;
    server.start_again();
    load.until_more(500).await;
    let sent = load.end().await;
    until(&host, "an empty spool", |host| pending(host) == 0.0).await;
    assert_kept(&setting, &sent);
    host.stop();
}

#[test]
fn two_hosts_with_one_spool_are_refused_with_its_folder() {
    let server = Postgres::start();
    let setting = on_postgres(&server);
    let host = Host::start(&setting);
    let message = setting.failure(&["serve"]);
    assert!(message.contains("the spool spool is in use by another process"), "{message}");
    host.stop();
}
