//! The server in this process, over a store that can be made to wait, and real WebSocket clients.

mod large_answers;
mod lifecycle;
mod newer_protocol;
mod protocol;

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reflow_tracing_protocol::client::{TracingClient, TracingConfig, TracingIntegration};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::socket::MAX_MESSAGE_BYTES;
use super::{TracingRequest, TracingResponse};
use crate::config::{Config, OpenStorage};
use crate::ingest::SubscriptionFilters;
use crate::ingest::gated::Gated;
use crate::server::{Listeners, ServeError, Settings, serve};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing::{
    ExecutionStatus, FlowId, FlowTrace, FlowVersion, PerformanceMetrics, TraceEvent, TraceEventData, TraceEventType,
    TraceId, TraceQuery,
};

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
        Self::start_with(permits, Settings::new(&Config::default())).await
    }

    async fn start_with(permits: usize, settings: Settings) -> Self {
        let storage = Gated::new(permits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/any/path", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let opened = OpenStorage::new("gated", storage.clone());
        let listeners = Listeners { main: listener, operations: None };
        let ended = tokio::spawn(serve(listeners, opened, settings, shutdown));
        Self { url, storage, stop: Some(stop), ended }
    }

    async fn connect(&self) -> Client {
        Client(tokio_tungstenite::connect_async(&self.url).await.unwrap().0)
    }

    /// Every trace, once there are `count` and all have ended.
    async fn ended_traces(&self, count: usize) -> Vec<FlowTrace> {
        for _ in 0..3_000 {
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
        let message = tokio::time::timeout(Duration::from_secs(30), self.0.next()).await.expect("no answer in time");
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
    TracingRequest::StartTrace { trace_id: None, flow_id: FlowId::new(flow), version: FlowVersion::default() }
}

fn record(event: TraceEvent) -> TracingRequest {
    TracingRequest::RecordEvent { trace_id: TraceId::new(), event }
}

fn event(actor: &str) -> TraceEvent {
    let data = TraceEventData { performance_metrics: PerformanceMetrics::ZERO, ..Default::default() };
    TraceEvent { actor_id: actor.into(), timestamp: chrono::Utc::now(), data, ..Default::default() }
}

fn subscribe(filters: SubscriptionFilters) -> TracingRequest {
    TracingRequest::Subscribe { filters }
}

const STORED: TracingResponse = TracingResponse::DONE;

/// The frames that Reflow's engine sent on its one connection.
fn recorded_frames() -> Vec<String> {
    include_str!("../../../../fixtures/reflow-session.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["frame"].to_string())
        .collect()
}
