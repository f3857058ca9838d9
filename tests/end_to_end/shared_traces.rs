//! Traces that several connections and hosts receive, and hosts that die.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::join_all;
use futures::{SinkExt, StreamExt};
use reflow_tracing_tests::servers::{ClickHouse, Postgres};
use reflow_tracing_tests::{Backend, Host, Setting, soak};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

/// How long hosts may take to notice that another one died, and to end what it received.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of a client.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(host: &Host) -> Self {
        Self(connect_async(&host.url).await.expect("the host listens").0)
    }

    /// The answer; `None` if the host died.
    async fn try_ask(&mut self, request: &Value) -> Option<Value> {
        self.0.send(Message::text(request.to_string())).await.ok()?;
        let answer = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("in time")?.ok()?;
        serde_json::from_str(answer.to_text().expect("text")).ok()
    }

    async fn ask(&mut self, request: &Value) -> Value {
        self.try_ask(request).await.unwrap_or_else(|| panic!("the host does not answer {request}"))
    }

    async fn record(&mut self, trace_id: Uuid, actor: &str) {
        assert_eq!(self.ask(&record(trace_id, &event(actor))).await, stored());
    }
}

fn stored() -> Value {
    json!({"EventRecorded": {"success": true, "error": null}})
}

fn record(trace_id: Uuid, event: &Value) -> Value {
    json!({"RecordEvent": {"trace_id": trace_id, "event": event}})
}

/// An event as the newer clients send it: nothing is measured.
fn event(actor: &str) -> Value {
    let id = Uuid::new_v4();
    json!({
        "event_id": id,
        "timestamp": chrono::Utc::now(),
        "event_type": "ActorStarted",
        "actor_id": actor,
        "data": {
            "port": null, "message": null, "state_diff": null, "error": null,
            "performance_metrics": {
                "execution_time_ns": null, "memory_usage_bytes": null, "cpu_usage_percent": null,
                "queue_depth": null, "throughput_msgs_per_sec": null,
            },
            "custom_attributes": {},
        },
        "causality": {"parent_event_id": null, "root_cause_event_id": id, "dependency_chain": [], "span_id": ""},
    })
}

/// The same as the older clients send it: everything is measured.
fn older_event(actor: &str) -> Value {
    let mut event = event(actor);
    for metric in event["data"]["performance_metrics"].as_object_mut().expect("an object").values_mut() {
        *metric = json!(0);
    }
    event
}

fn start(trace_id: Option<Uuid>, flow: &str) -> Value {
    let version = json!({"major": 1, "minor": 0, "patch": 0, "git_hash": null, "timestamp": chrono::Utc::now()});
    match trace_id {
        Some(trace_id) => json!({"StartTrace": {"trace_id": trace_id, "flow_id": flow, "version": version}}),
        None => json!({"StartTrace": {"flow_id": flow, "version": version}}),
    }
}

fn traces(setting: &Setting) -> Vec<Value> {
    serde_json::from_str(&setting.stdout(&["query", "--limit", "10000", "--format", "json"])).expect("traces")
}

/// The trace with an actor of this name.
fn of_actor(setting: &Setting, actor: &str) -> Value {
    let traces = setting.stdout(&["query", "--actor", actor, "--format", "json"]);
    let mut traces: Vec<Value> = serde_json::from_str(&traces).expect("traces");
    assert_eq!(traces.len(), 1, "{actor} in {traces:?}");
    traces.remove(0)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn on_each_store<F: Future<Output = ()>>(check: impl Fn(Setting) -> F) {
    check(Setting::new(Backend::Sqlite)).await;
    let postgres = Postgres::start();
    check(Setting::on_postgres(&postgres)).await;
    let clickhouse = ClickHouse::shared();
    check(Setting::on_clickhouse(&clickhouse)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_of_a_killed_host_are_found_at_once_and_cancelled_by_the_next_host() {
    on_each_store(async |setting| {
        let host = Host::start(&setting);
        let (mut newer, mut older, trace_id) =
            (Client::connect(&host).await, Client::connect(&host).await, Uuid::new_v4());
        newer.record(trace_id, "newer").await;
        let answer = older.ask(&record(Uuid::new_v4(), &older_event("older"))).await;
        assert_eq!(answer, stored());
        for actor in ["newer", "older"] {
            let trace = of_actor(&setting, actor);
            assert_eq!((&trace["flow_id"], &trace["status"]), (&json!("unknown"), &json!("Running")), "{actor}");
        }
        host.kill();
        for actor in ["newer", "older"] {
            assert_eq!(of_actor(&setting, actor)["status"], "Running", "{actor}");
        }

        let next = Host::start(&setting);
        let (mut client, own) = (Client::connect(&next).await, Uuid::new_v4());
        client.ask(&start(Some(own), "own")).await;
        client.record(own, "own").await;
        until("the traces of the killed host are ended", || {
            ["newer", "older"].iter().all(|actor| of_actor(&setting, actor)["status"] == "Cancelled")
        })
        .await;
        for actor in ["newer", "older"] {
            let trace = of_actor(&setting, actor);
            let why = trace["metadata"]["tags"]["reflow.interrupted"].as_str().expect("a tag says why");
            assert!(why.contains("host") && trace["end_time"] == trace["events"][0]["timestamp"], "{trace}");
        }
        assert_eq!(of_actor(&setting, "own")["status"], "Running", "what is sent now is left alone");
        // Its client comes back.
        client.ask(&start(Some(trace_id), "resumed")).await;
        client.ask(&json!({"EndTrace": {"trace_id": trace_id, "status": "Completed"}})).await;
        let trace = of_actor(&setting, "newer");
        assert_eq!((&trace["flow_id"], &trace["status"]), (&json!("resumed"), &json!("Completed")));
        assert_eq!(trace["metadata"]["tags"], json!({}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_two_hosts_receive_goes_on_until_both_have_all_of_it() {
    on_each_store(async |setting| {
        let hosts = [Host::start(&setting), Host::start(&setting)];
        let trace_id = Uuid::new_v4();
        let [mut first, mut second] = [Client::connect(&hosts[0]).await, Client::connect(&hosts[1]).await];
        // The event of another process may come before the start.
        second.record(trace_id, "second").await;
        first.ask(&start(Some(trace_id), "orders")).await;
        first.record(trace_id, "first").await;
        drop(first);
        // Longer than the grace period of the first host.
        tokio::time::sleep(Duration::from_secs(14)).await;
        let trace = of_actor(&setting, "first");
        assert_eq!((&trace["flow_id"], &trace["status"]), (&json!("orders"), &json!("Running")));
        second.record(trace_id, "second again").await;
        second.ask(&json!({"EndTrace": {"trace_id": trace_id, "status": "Completed"}})).await;

        // What comes late moves the end, and a failure shows.
        let [mut late, mut failed] = [event("late"), event("failed")];
        let earlier = chrono::Utc::now() - chrono::TimeDelta::minutes(10);
        late["timestamp"] = json!(earlier);
        failed["event_type"] = json!("ActorFailed");
        failed["data"]["error"] = json!("no stock");
        let mut other = Client::connect(&hosts[0]).await;
        for event in [late, failed.clone()] {
            assert_eq!(other.ask(&record(trace_id, &event)).await, stored());
        }
        let trace = of_actor(&setting, "first");
        assert_eq!(trace["status"], json!({"Failed": {"error": "no stock"}}));
        assert_eq!(trace["start_time"], trace["events"][0]["timestamp"]);
        assert_eq!(trace["end_time"], failed["timestamp"]);
        assert_eq!(trace["events"].as_array().map(Vec::len), Some(5));
        assert_eq!(traces(&setting).len(), 1);
        drop((second, other));
        hosts.into_iter().for_each(Host::stop);
        assert_eq!(of_actor(&setting, "first")["status"], trace["status"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_stopped_completes_nothing() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let [mut newer, mut older, mut done] =
        [Client::connect(&host).await, Client::connect(&host).await, Client::connect(&host).await];
    newer.record(Uuid::new_v4(), "newer").await;
    for (client, actor) in [(&mut older, "older"), (&mut done, "done")] {
        client.ask(&start(None, actor)).await;
        assert_eq!(client.ask(&record(Uuid::new_v4(), &older_event(actor))).await, stored());
    }
    done.0.close(None).await.expect("a closing handshake");
    while let Some(Ok(_)) = done.0.next().await {}
    host.stop();
    for (actor, status) in [("newer", "Cancelled"), ("older", "Cancelled"), ("done", "Completed")] {
        assert_eq!(of_actor(&setting, actor)["status"], status, "{actor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_counted_and_does_not_decide_what_retention_deletes() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let mut client = Client::connect(&host).await;
    for (actor, year) in [("early", "1970"), ("late", "2200")] {
        let (trace_id, mut event) = (Uuid::new_v4(), event(actor));
        let time = format!("{year}-01-02T00:00:00Z");
        event["timestamp"] = json!(time);
        assert_eq!(client.ask(&record(trace_id, &event)).await, stored());
        client.ask(&json!({"EndTrace": {"trace_id": trace_id, "status": "Completed"}})).await;
        let trace = of_actor(&setting, actor);
        let [start, end] = ["start_time", "end_time"].map(|field| trace[field].as_str().expect("a time").to_owned());
        assert!(start <= time && time <= end, "{actor}: {start} to {end}");
        assert!(trace["metadata"]["tags"]["reflow.received_at"].is_string(), "{actor}");
    }
    assert!(host.get("/metrics").1.contains("implausible_times_total 2\n"));
    assert!(host.log().contains("more than a day from this host's clock"), "{}", host.log());
    setting.stdout(&["retain", "--older-than", "1d"]);
    assert_eq!(traces(&setting).len(), 2);
}

/// What a client that reconnects sent, and what was acknowledged.
#[derive(Default)]
struct Sent {
    acknowledged: BTreeSet<String>,
    /// Traces of the newer protocol whose end was sent.
    ended: BTreeSet<Uuid>,
    /// Those whose end was acknowledged.
    completed: BTreeSet<Uuid>,
}

/// Sends traces one after another to whichever host answers, each over several connections if its host dies.
async fn send(urls: &std::sync::Mutex<Vec<String>>, newer: bool, deadline: Instant, mut rng: Rng) -> Sent {
    let mut sent = Sent::default();
    while Instant::now() < deadline {
        let trace_id = Uuid::new_v4();
        let mut events: Vec<_> =
            (0..rng.usize(5..60)).map(|_| if newer { event("a") } else { older_event("a") }).collect();
        events.reverse();
        let mut is_completed = false;
        while !is_completed && Instant::now() < deadline {
            let url = urls.lock().expect("no panic")[rng.usize(0..2)].clone();
            let Ok((socket, _)) = connect_async(&url).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut client = Client(socket);
            let begin = start(newer.then_some(trace_id), "soak");
            if client.try_ask(&begin).await.is_none() {
                continue;
            }
            while let Some(event) = events.last() {
                let named = if newer { trace_id } else { Uuid::new_v4() };
                if client.try_ask(&record(named, event)).await != Some(stored()) {
                    break;
                }
                sent.acknowledged.insert(event["event_id"].as_str().expect("an id").to_owned());
                events.pop();
            }
            if !events.is_empty() {
                continue;
            }
            is_completed = match newer {
                true => {
                    let end = json!({"EndTrace": {"trace_id": trace_id, "status": "Completed"}});
                    sent.ended.insert(trace_id);
                    client.try_ask(&end).await == Some(stored())
                }
                false => client.0.close(None).await.is_ok(),
            };
            if is_completed && newer {
                sent.completed.insert(trace_id);
            }
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_that_are_killed_under_load_lose_nothing_and_complete_nothing_by_mistake() {
    let seed = std::env::var("CRASH_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("the kills are those of CRASH_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let server = Postgres::start();
    let setting = Setting::on_postgres(&server);
    let mut hosts = [Host::start(&setting), Host::start(&setting)];
    let urls = std::sync::Arc::new(std::sync::Mutex::new(hosts.iter().map(|host| host.url.clone()).collect()));
    let deadline = Instant::now() + Duration::from_secs(12) * soak();
    let senders: Vec<_> = (0..6)
        .map(|number| {
            let (urls, rng) = (std::sync::Arc::clone(&urls), rng.fork());
            tokio::spawn(async move { send(&urls, number % 2 == 0, deadline, rng).await })
        })
        .collect();
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(rng.u64(200..2_000))).await;
        let index = rng.usize(0..2);
        let next = Host::start(&setting);
        urls.lock().expect("no panic")[index] = next.url.clone();
        std::mem::replace(&mut hosts[index], next).kill();
    }
    let mut all = Sent::default();
    for sent in join_all(senders).await {
        let sent = sent.expect("no sender panics");
        all.acknowledged.extend(sent.acknowledged);
        all.ended.extend(sent.ended);
        all.completed.extend(sent.completed);
    }
    assert!(all.acknowledged.len() > 100, "the hosts were killed before they did anything");
    until("every trace has ended", || {
        server.query("SELECT count(*) FROM tracing.traces WHERE status IN ('Running', 'Pending')") == "0"
    })
    .await;
    hosts.into_iter().for_each(Host::stop);

    let mut stored = BTreeSet::new();
    for trace in traces(&setting) {
        let events = trace["events"].as_array().expect("events");
        let trace_id: Uuid = trace["trace_id"].as_str().expect("an id").parse().expect("an id");
        let is_newer = events.iter().any(|event| event["data"]["performance_metrics"]["queue_depth"].is_null());
        for event in events {
            let id = event["event_id"].as_str().expect("an id").to_owned();
            // A client of the older protocol sends what was not acknowledged again in another trace.
            assert!(stored.insert(id.clone()) || !is_newer, "{id} is stored twice");
        }
        match trace["status"].as_str() {
            Some("Completed") => assert!(!is_newer || all.ended.contains(&trace_id), "{trace_id} was not completed"),
            _ => {
                assert_eq!(trace["status"], "Cancelled", "{trace_id}");
                assert!(!all.completed.contains(&trace_id), "{trace_id} was completed");
                assert!(trace["metadata"]["tags"]["reflow.interrupted"].is_string(), "{trace_id}");
            }
        }
    }
    let lost = all.acknowledged.iter().filter(|id| !stored.contains(*id)).count();
    assert_eq!(lost, 0, "of {} acknowledged events", all.acknowledged.len());
}
