//! A host that is killed under load again and again, on one store: recovery after recovery.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use fastrand::Rng;
use futures::future::join_all;
use futures::{SinkExt, StreamExt};
use reflow_tracing::plugin::{Grants, PluginBackend, PluginConfig};
use reflow_tracing::storage::{SqliteStorage, StorageBackend};
use reflow_tracing::{FlowTrace, FlowVersion, SortOrder, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_protocol::TracingResponse;
use reflow_tracing_tests::{Backend, Host, Setting, event_of_id, plugin, soak};
use serde_json::json;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Connections that send at the same time.
const CONNECTIONS: u32 = 4;
/// More events than a host can store before it is killed.
const EVENTS: u32 = 5_000;
/// The most that passes between the first acknowledgement and the kill.
const LONGEST_LIFE: Duration = Duration::from_millis(150);
/// Rounds between two checks of the store. Opening the store for a check recovers it, like an orderly shutdown.
const ROUNDS_UNSEEN: u32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_however_often_a_host_on_sqlite_is_killed() {
    let setting = Setting::new(Backend::Sqlite);
    let file = setting.path().join("traces.db");
    is_killed_again_and_again(&setting, 40, async || SqliteStorage::new(&file).await.expect("a sound file")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_however_often_a_host_with_a_plugin_is_killed() {
    let setting = Setting::new(Backend::Relational);
    let database = format!("sqlite:{}", setting.path().join("relational.db").display());
    let grants = Grants { sql: [("default".into(), database)].into(), ..Grants::default() };
    let config = PluginConfig { grants, ..PluginConfig::default() };
    let open = async || PluginBackend::load("relational", &plugin("relational"), &config).await.expect("a sound file");
    is_killed_again_and_again(&setting, 10, open).await;
}

/// Kills a host under load, starts another on the same store, and so on; `open` opens that store.
pub async fn is_killed_again_and_again<S: StorageBackend>(setting: &Setting, rounds: u32, open: impl AsyncFn() -> S) {
    let seed = std::env::var("CRASH_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    // Shown when the test fails.
    println!("the kills are those of CRASH_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let rounds = rounds * soak();
    let mut all_sent = Vec::new();
    for round in 1..=rounds {
        let life = LONGEST_LIFE.mul_f64(rng.f64());
        all_sent.extend(killed_under_load(setting, round, life).await);
        if round % ROUNDS_UNSEEN == 0 || round == rounds {
            assert_kept(&open().await, &all_sent).await;
        }
    }
    let acknowledged: u32 = all_sent.iter().map(|sent| sent.acknowledged).sum();
    println!("{acknowledged} events were acknowledged, and kept");
    assert!(acknowledged >= rounds, "the hosts were killed before they did anything");
}

/// The requests and answers of a connection.
struct Sent {
    round: u32,
    connection: u32,
    /// The trace, if its start was acknowledged.
    trace_id: Option<TraceId>,
    /// The number of acknowledged events, from the first on: answers come in the order of the requests.
    acknowledged: u32,
}

async fn killed_under_load(setting: &Setting, round: u32, life: Duration) -> Vec<Sent> {
    let host = Host::start(setting);
    let sockets = join_all((0..CONNECTIONS).map(|_| connect_async(&host.url))).await;
    let first_acknowledged = Arc::new(Notify::new());
    let senders: Vec<_> = (0..)
        .zip(sockets)
        .map(|(connection, socket)| {
            let (socket, _) = socket.expect("the host listens");
            tokio::spawn(send_until_killed(socket, round, connection, first_acknowledged.clone()))
        })
        .collect();
    tokio::time::timeout(Duration::from_secs(60), first_acknowledged.notified()).await.expect("in time");
    tokio::time::sleep(life).await;
    host.kill();
    join_all(senders).await.into_iter().map(|sent| sent.expect("the host refused nothing")).collect()
}

/// Sends without waiting for answers, which are counted until there are no more.
async fn send_until_killed(socket: Socket, round: u32, connection: u32, first_acknowledged: Arc<Notify>) -> Sent {
    let (mut requests, mut answers) = socket.split();
    let send = async {
        let start = json!({"StartTrace": {"flow_id": flow(round, connection), "version": FlowVersion::default()}});
        let events = (0..EVENTS).map(|number| event(round, connection, number));
        let events = events.map(|event| json!({"RecordEvent": {"trace_id": TraceId::new(), "event": event}}));
        for request in std::iter::once(start).chain(events) {
            if requests.send(Message::text(request.to_string())).await.is_err() {
                break;
            }
        }
        pending::<()>().await;
    };
    let count = async {
        let mut sent = Sent { round, connection, trace_id: None, acknowledged: 0 };
        while let Some(Ok(Message::Text(answer))) = answers.next().await {
            match serde_json::from_str(&answer).expect("a response") {
                TracingResponse::TraceStarted { trace_id } => sent.trace_id = Some(TraceId(trace_id.0)),
                TracingResponse::EventRecorded { success: true, .. } => {
                    sent.acknowledged += 1;
                    first_acknowledged.notify_one();
                }
                other => panic!("{other:?}"),
            }
        }
        sent
    };
    tokio::select! {
        () = send => unreachable!("it waits for the end"),
        sent = count => sent,
    }
}

fn flow(round: u32, connection: u32) -> String {
    format!("{round}/{connection}")
}

/// The same event for the same numbers, so that what is stored can be compared with what was sent.
fn event(round: u32, connection: u32, number: u32) -> TraceEvent {
    let id = (u128::from(round) << 64) | (u128::from(connection) << 32) | u128::from(number);
    TraceEvent {
        timestamp: DateTime::from_timestamp_nanos(1_750_000_000_000_000_000 + i64::from(number)),
        actor_id: format!("{round}/{connection}/{number}"),
        // An odd factor: distinct ids in no order.
        ..event_of_id(Uuid::from_u128(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
    }
}

/// Checks that the store holds every acknowledged event once, and nothing that was not sent.
async fn assert_kept(storage: &impl StorageBackend, all_sent: &[Sent]) {
    let mut stored = everything(storage).await;
    for Sent { round, connection, trace_id, acknowledged } in all_sent {
        let name = flow(*round, *connection);
        let Some(trace) = stored.remove(&name) else {
            assert_eq!(*trace_id, None, "the trace of {name} was acknowledged, and is lost");
            continue;
        };
        assert!(trace_id.is_none_or(|acknowledged| acknowledged == trace.trace_id), "{name} has another id");
        let mut numbers = Vec::new();
        for found in trace.events {
            let number = found.actor_id.rsplit('/').next().and_then(|number| number.parse().ok()).expect("a number");
            assert!(found == event(*round, *connection, number), "damaged: {found:?}");
            numbers.push(number);
        }
        // They are sorted by time, which is the order of their numbers.
        assert!(numbers.is_sorted_by(|one, next| one < next), "{name} holds an event twice: {numbers:?}");
        let kept = numbers.iter().zip(0..*acknowledged).filter(|(found, sent)| **found == *sent).count();
        assert_eq!(kept, *acknowledged as usize, "of {acknowledged} acknowledged events of {name}");
    }
    assert!(stored.is_empty(), "nobody sent these: {:?}", stored.keys());
}

/// Every trace, by its flow. Panics when two have the same.
async fn everything(storage: &impl StorageBackend) -> BTreeMap<String, FlowTrace> {
    let mut traces = BTreeMap::new();
    let mut query = TraceQuery { limit: Some(20), order: SortOrder::OldestFirst, ..TraceQuery::default() };
    loop {
        let page = storage.query_page(query.clone().into()).await.expect("a sound store");
        for trace in page.traces {
            let earlier = traces.insert(trace.flow_id.0.clone(), trace);
            assert!(earlier.is_none(), "two traces of one start: {earlier:?}");
        }
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => return traces,
        }
    }
}
