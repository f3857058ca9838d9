//! Reflow's protocol over a raw WebSocket: one answer per request.

use futures::{SinkExt, StreamExt};
use reflow_tracing_protocol::{FlowId, FlowVersion, TraceEvent, TraceId, TracingRequest};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A connection to a host.
pub struct Connection(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Connection {
    pub async fn open(url: &str) -> Self {
        Self(connect_async(url).await.expect("the host listens").0)
    }

    async fn ask(&mut self, request: &TracingRequest) -> Value {
        let text = serde_json::to_string(request).expect("JSON");
        self.0.send(Message::text(text)).await.expect("the host reads");
        let answer = self.0.next().await.expect("the host answers").expect("the host answers");
        serde_json::from_str(answer.to_text().expect("text")).expect("JSON")
    }

    /// Starts a trace of this flow. Returns its id.
    pub async fn start_trace(&mut self, flow: &str) -> TraceId {
        let answer = self.try_start_trace(flow).await;
        serde_json::from_value(answer["TraceStarted"]["trace_id"].clone()).unwrap_or_else(|_| panic!("{answer}"))
    }

    /// The answer to starting a trace of this flow.
    pub async fn try_start_trace(&mut self, flow: &str) -> Value {
        let (flow_id, version) = (
            FlowId::new(flow),
            FlowVersion { major: 1, minor: 0, patch: 0, git_hash: None, timestamp: Default::default() },
        );
        self.ask(&TracingRequest::StartTrace { flow_id, version }).await
    }

    /// Starts a trace of this flow with an event of an actor of the same name.
    pub async fn start_and_record(&mut self, name: &str) -> TraceId {
        let trace_id = self.start_trace(name).await;
        let answer = self.record(&trace_id, name, Value::Null).await;
        assert!(is_stored(&answer), "{answer}");
        trace_id
    }

    /// The answer to an event of this actor, with this attribute.
    pub async fn record(&mut self, trace_id: &TraceId, actor: &str, attribute: Value) -> Value {
        let mut event = TraceEvent::actor_created(actor.to_owned());
        event.data.custom_attributes.insert("attribute".into(), attribute);
        self.ask(&TracingRequest::RecordEvent { trace_id: trace_id.clone(), event }).await
    }
}

/// Whether the answer says that the event is stored.
pub fn is_stored(answer: &Value) -> bool {
    answer["EventRecorded"]["success"] == json!(true)
}
