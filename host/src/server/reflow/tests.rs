//! The server in this process, over a store that can be made to wait, and real WebSocket clients.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use reflow_tracing_protocol::client::{TracingClient, TracingConfig, TracingIntegration};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::super::{ServeError, serve};
use super::connection::MAX_IN_FLIGHT;
use super::{MAX_MESSAGE_BYTES, TracingRequest, TracingResponse};
use crate::ingest::SubscriptionFilters;
use crate::storage::{MemoryStorage, StorageBackend, StorageError};
use crate::{
    ExecutionStatus, FlowId, FlowTrace, FlowVersion, TraceEvent, TraceEventData, TraceEventType, TraceId, TraceQuery,
};

/// Memory that stores a batch of events only when it has a permit.
struct Gated {
    storage: MemoryStorage,
    permits: Semaphore,
}

#[async_trait]
impl StorageBackend for Gated {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.storage.store_trace(trace).await
    }
    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.storage.get_trace(trace_id).await
    }
    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.storage.query_traces(query).await
    }
    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.storage.store_event(trace_id, event).await
    }
    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.storage.get_events(trace_id).await
    }
    async fn health_check(&self) -> Result<(), StorageError> {
        self.storage.health_check().await
    }
    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        self.permits.acquire().await.expect("it is never closed").forget();
        self.storage.store_events(events).await
    }
}

struct Server {
    url: String,
    storage: Arc<Gated>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    async fn start() -> Self {
        Self::start_gated(Semaphore::MAX_PERMITS).await
    }

    async fn start_gated(permits: usize) -> Self {
        let storage = Arc::new(Gated { storage: MemoryStorage::new(), permits: Semaphore::new(permits) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/any/path", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(serve(listener, storage.clone(), shutdown));
        Self { url, storage, stop: Some(stop), ended }
    }

    async fn connect(&self) -> Client {
        Client(tokio_tungstenite::connect_async(&self.url).await.unwrap().0)
    }

    /// Every trace, once there are `count` and all have ended.
    async fn ended_traces(&self, count: usize) -> Vec<FlowTrace> {
        for _ in 0..200 {
            let traces = self.storage.query_traces(TraceQuery::default()).await.unwrap();
            if traces.len() == count && traces.iter().all(|trace| trace.end_time.is_some()) {
                return traces;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} ended traces are awaited: {:?}", self.storage.query_traces(TraceQuery::default()).await)
    }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn send_text(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    async fn send(&mut self, request: &TracingRequest) {
        self.send_text(serde_json::to_string(request).unwrap()).await;
    }

    async fn receive_json(&mut self) -> Value {
        let message = tokio::time::timeout(Duration::from_secs(5), self.0.next()).await.expect("no answer in time");
        serde_json::from_str(message.unwrap().unwrap().to_text().unwrap()).unwrap()
    }

    async fn receive(&mut self) -> TracingResponse {
        serde_json::from_value(self.receive_json().await).unwrap()
    }

    async fn ask(&mut self, request: &TracingRequest) -> TracingResponse {
        self.send(request).await;
        self.receive().await
    }

    async fn start(&mut self, flow: &str) -> TraceId {
        match self.ask(&start(flow)).await {
            TracingResponse::TraceStarted { trace_id } => trace_id,
            other => panic!("{other:?}"),
        }
    }

    /// Closes with a handshake, and waits until the server has closed.
    async fn close(mut self) {
        self.0.close(None).await.unwrap();
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

fn start(flow: &str) -> TracingRequest {
    TracingRequest::StartTrace { flow_id: FlowId::new(flow), version: FlowVersion::default() }
}

fn record(event: TraceEvent) -> TracingRequest {
    TracingRequest::RecordEvent { trace_id: TraceId::new(), event }
}

fn event(actor: &str) -> TraceEvent {
    TraceEvent { actor_id: actor.into(), timestamp: chrono::Utc::now(), ..Default::default() }
}

fn subscribe(filters: SubscriptionFilters) -> TracingRequest {
    TracingRequest::Subscribe { filters }
}

const STORED: TracingResponse = TracingResponse::DONE;

/// The frames that Reflow's engine sent on its one connection.
fn recorded_frames() -> Vec<String> {
    include_str!("../../../../tests/fixtures/reflow-session.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["frame"].to_string())
        .collect()
}

#[tokio::test]
async fn a_recorded_session_becomes_one_trace_with_its_events_in_order() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let frames = recorded_frames();
    for frame in &frames {
        client.send_text(frame).await;
    }
    let mut started = None;
    for _ in &frames {
        match client.receive().await {
            TracingResponse::TraceStarted { trace_id } => started = Some(trace_id),
            answer => assert_eq!(answer, STORED),
        }
    }
    client.close().await;

    // The close was answered, so the trace has ended; nothing is to be waited for.
    let traces = server.storage.query_traces(TraceQuery::default()).await.unwrap();
    let [trace] = &traces[..] else { panic!("{traces:?}") };
    assert_eq!(Some(trace.trace_id), started);
    assert_eq!(trace.flow_id.as_str(), "network_session_1795371274");
    assert_eq!(trace.status, ExecutionStatus::Completed);
    assert_eq!(trace.events.len(), 16);
    assert!(trace.events.is_sorted_by_key(|event| event.timestamp));
    assert_eq!(trace.start_time, trace.events[0].timestamp);
    assert_eq!(trace.end_time, Some(trace.events[15].timestamp));
}

#[tokio::test]
async fn two_connections_stay_apart() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect().await, server.connect().await);
    let (trace_a, trace_b) = (a.start("a").await, b.start("b").await);
    for _ in 0..3 {
        assert_eq!(a.ask(&record(event("of a"))).await, STORED);
        assert_eq!(b.ask(&record(event("of b"))).await, STORED);
    }
    for (trace_id, actor) in [(trace_a, "of a"), (trace_b, "of b")] {
        let events = server.storage.get_events(trace_id).await.unwrap();
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|event| event.actor_id == actor));
    }
}

#[tokio::test]
async fn a_bad_message_is_answered_and_the_connection_goes_on() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for (message, part) in [
        (Message::text("not json"), "expected"),
        (Message::text(r#"{"Foo":1}"#), "unknown variant `Foo`"),
        (Message::binary(b"\x28\xb5\x2f\xfd\x00".as_slice()), "zstd"),
    ] {
        client.0.send(message).await.unwrap();
        let answer = client.receive_json().await;
        assert_eq!(answer["Error"]["code"], "InvalidRequest");
        assert!(answer["Error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
    client.0.send(Message::binary(br#""Ping""#.as_slice())).await.unwrap();
    assert_eq!(client.receive().await, TracingResponse::Pong);
}

#[tokio::test]
async fn an_event_that_is_refused_says_why() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    match client.ask(&record(event(&"x".repeat(2_000)))).await {
        TracingResponse::EventRecorded { success: false, error: Some(error) } => {
            assert!(error.contains("actor_id"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_is_acknowledged_only_once_it_is_stored_and_a_query_waits_for_it() {
    let server = Server::start_gated(0).await;
    let mut client = server.connect().await;
    let trace_id = client.start("f").await;
    client.send(&record(event("a"))).await;
    client.send(&TracingRequest::GetTrace { trace_id }).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), client.0.next()).await.is_err(), "nothing is stored yet");
    server.storage.permits.add_permits(1);
    assert_eq!(client.receive().await, STORED);
    match client.receive().await {
        TracingResponse::TraceData { trace: Some(trace) } => assert_eq!(trace.events.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_waits_slows_its_sender_and_loses_nothing() {
    let server = Server::start_gated(0).await;
    let mut client = server.connect().await;
    let trace_id = client.start("f").await;
    let (mut sender, mut receiver) = client.0.split();
    const EVENTS: usize = 4 * MAX_IN_FLIGHT;
    let sending = tokio::spawn(async move {
        // Large enough that the network's buffers do not hold them all.
        let filler = "x".repeat(20_000);
        for _ in 0..EVENTS {
            let data = TraceEventData { port: Some(filler.clone()), ..Default::default() };
            let request = record(TraceEvent { data, ..event("a") });
            sender.send(Message::text(serde_json::to_string(&request).unwrap())).await.unwrap();
        }
        sender
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!sending.is_finished(), "the sender has to wait");
    server.storage.permits.add_permits(1_000_000);
    for _ in 0..EVENTS {
        let answer = receiver.next().await.unwrap().unwrap();
        assert_eq!(answer.to_text().unwrap(), r#"{"EventRecorded":{"success":true,"error":null}}"#);
    }
    drop(sending.await.unwrap());
    assert_eq!(server.storage.get_events(trace_id).await.unwrap().len(), EVENTS);
}

#[tokio::test]
async fn a_subscriber_is_told_of_the_events_that_pass_its_filters_with_their_real_trace() {
    let server = Server::start().await;
    let mut watcher = server.connect().await;
    let filters = SubscriptionFilters {
        flow_ids: Some(vec![FlowId::new("wanted")]),
        event_types: Some(vec![TraceEventType::MessageSent]),
        ..Default::default()
    };
    assert_eq!(watcher.ask(&subscribe(filters)).await, STORED);
    let mut trace_ids = Vec::new();
    for flow in ["other", "wanted"] {
        let mut sender = server.connect().await;
        trace_ids.push(sender.start(flow).await);
        sender.ask(&record(event("created"))).await;
        let sent = TraceEvent { event_type: TraceEventType::MessageSent, ..event("sent") };
        sender.ask(&record(sent)).await;
    }
    match watcher.receive().await {
        TracingResponse::EventNotification { trace_id, event } => {
            assert_eq!((trace_id, event.actor_id.as_str()), (trace_ids[1], "sent"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(watcher.ask(&TracingRequest::Unsubscribe).await, STORED);
    let mut sender = server.connect().await;
    sender.start("wanted").await;
    sender.ask(&record(TraceEvent { event_type: TraceEventType::MessageSent, ..event("sent") })).await;
    assert_eq!(watcher.ask(&TracingRequest::Ping).await, TracingResponse::Pong, "no notification comes any more");
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_does_not_slow_the_senders() {
    let server = Server::start().await;
    let mut watcher = server.connect().await;
    assert_eq!(watcher.ask(&subscribe(SubscriptionFilters::default())).await, STORED);
    let mut sender = server.connect().await;
    sender.start("f").await;
    const EVENTS: usize = 20_000;
    let (mut sending, mut answers) = sender.0.split();
    let filler = "x".repeat(1_000);
    let frames = (0..EVENTS).map(move |_| {
        let data = TraceEventData { port: Some(filler.clone()), ..Default::default() };
        Ok(Message::text(serde_json::to_string(&record(TraceEvent { data, ..event("a") })).unwrap()))
    });
    let sending = tokio::spawn(async move { sending.send_all(&mut futures::stream::iter(frames)).await });
    for _ in 0..EVENTS {
        tokio::time::timeout(Duration::from_secs(20), answers.next()).await.expect("ingest is held up");
    }
    sending.await.unwrap().unwrap();
    // What it missed ends its stream with an error, after which it goes on as a connection.
    loop {
        match watcher.receive().await {
            TracingResponse::EventNotification { .. } => {}
            TracingResponse::Error { message, .. } => {
                assert!(message.contains("missed"), "{message}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(watcher.ask(&TracingRequest::Ping).await, TracingResponse::Pong);
}

#[tokio::test]
async fn a_connection_that_breaks_off_ends_its_trace_with_all_that_was_sent() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let trace_id = client.start("f").await;
    for _ in 0..5 {
        client.send(&record(event("a"))).await;
    }
    for _ in 0..5 {
        assert_eq!(client.receive().await, STORED);
    }
    drop(client);
    let traces = server.ended_traces(1).await;
    assert_eq!((traces[0].trace_id, traces[0].events.len()), (trace_id, 5));
    assert_eq!(traces[0].status, ExecutionStatus::Completed);
}

#[tokio::test]
async fn shutdown_ends_connections_and_their_traces() {
    let mut server = Server::start().await;
    let mut client = server.connect().await;
    client.start("f").await;
    assert_eq!(client.ask(&record(event("a"))).await, STORED);
    server.stop.take().unwrap().send(()).unwrap();
    match client.0.next().await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("{other:?}"),
    }
    let traces = server.storage.query_traces(TraceQuery::default()).await.unwrap();
    assert!(traces[0].end_time.is_some(), "it ended before the goodbye");
    while let Some(Ok(_)) = client.0.next().await {}
    server.ended.await.unwrap().unwrap();
    assert!(tokio_tungstenite::connect_async(&server.url).await.is_err());
}

#[tokio::test]
async fn queries_are_answered_with_the_real_total() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for minor in [2, 1, 1] {
        let version = FlowVersion { minor, ..Default::default() };
        client.ask(&TracingRequest::StartTrace { flow_id: FlowId::new("f"), version }).await;
    }
    let query = TraceQuery { limit: Some(1), offset: Some(1), ..Default::default() };
    match client.ask(&TracingRequest::QueryTraces { query }).await {
        TracingResponse::QueryResults { traces, total_count } => assert_eq!((traces.len(), total_count), (1, 3)),
        other => panic!("{other:?}"),
    }
    match client.ask(&TracingRequest::GetFlowVersions { flow_id: FlowId::new("f") }).await {
        TracingResponse::FlowVersions { versions } => {
            assert_eq!(versions.iter().map(|version| version.minor).collect::<Vec<_>>(), [1, 2]);
        }
        other => panic!("{other:?}"),
    }
    let unknown = TracingRequest::GetTrace { trace_id: TraceId::new() };
    assert_eq!(client.ask(&unknown).await, TracingResponse::TraceData { trace: None });
    let too_many = TraceQuery { limit: Some(1_000_000), ..Default::default() };
    client.send(&TracingRequest::QueryTraces { query: too_many }).await;
    assert_eq!(client.receive_json().await["Error"]["code"], "InvalidRequest");
}

#[tokio::test]
async fn the_older_family_stores_traces_and_asks_for_metrics() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let events = vec![event("a"), event("b")];
    let trace = FlowTrace { events, ..FlowTrace::new(FlowId::new("f"), FlowVersion::default()) };
    client.send(&TracingRequest::StoreTrace { trace: trace.clone() }).await;
    assert_eq!(client.receive_json().await, json!({"TraceStored": {"trace_id": trace.trace_id}}));
    client.send(&TracingRequest::GetMetrics).await;
    assert_eq!(client.receive_json().await["Metrics"]["data"]["traces"], 1);
    assert_eq!(server.storage.get_trace(trace.trace_id).await.unwrap(), Some(trace));
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection_but_not_the_server() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.start("f").await;
    let _ = client.0.send(Message::text(" ".repeat(MAX_MESSAGE_BYTES + 1))).await;
    while let Some(Ok(_)) = client.0.next().await {}
    server.ended_traces(1).await;
    assert_eq!(server.connect().await.ask(&TracingRequest::Ping).await, TracingResponse::Pong);
}

#[tokio::test]
async fn a_request_that_is_no_websocket_is_told_what_this_is() {
    let server = Server::start().await;
    let address = server.url.trim_start_matches("ws://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /traces HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("ws://"), "{answer}");
}

#[tokio::test]
async fn reflows_own_client_is_served() {
    let server = Server::start().await;
    let config = TracingConfig { server_url: server.url.clone(), ..Default::default() };
    let client = TracingClient::new(config);
    client.connect().await.unwrap();
    let tracing = TracingIntegration::new(client);
    tracing.trace_actor_created("early").await.unwrap();
    tracing.start_flow_trace("their flow").await.unwrap();
    tracing.trace_data_flow("a", "out", "b", "in", "Message", 9).await.unwrap();
    tracing.trace_actor_failed("b", "boom").await.unwrap();
    tracing.client().shutdown().await.unwrap();
    // It never closes the connection by itself; its process ends. Here the server stops.
    let mut watcher = server.connect().await;
    for _ in 0..100 {
        let query = TraceQuery { has_error: Some(true), ..Default::default() };
        match watcher.ask(&TracingRequest::QueryTraces { query }).await {
            TracingResponse::QueryResults { total_count: 1, .. } => break,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    server.stop.unwrap().send(()).unwrap();
    server.ended.await.unwrap().unwrap();
    let traces = server.storage.query_traces(TraceQuery::default()).await.unwrap();
    let [trace] = &traces[..] else { panic!("{traces:?}") };
    assert_eq!(trace.flow_id.as_str(), "their flow");
    assert_eq!(trace.status, ExecutionStatus::Failed { error: "boom".into() });
    let actors: Vec<_> = trace.events.iter().map(|event| event.actor_id.as_str()).collect();
    assert_eq!(actors, ["early", "a", "b"]);
}
