//! Answers that are larger than the frames that clients take: Reflow's takes 16 MiB, and 64 MiB for a message.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, PerformanceMetrics, TraceEvent};
use reflow_tracing_tests::{Backend, Host, Setting};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    /// A client with the limits of Reflow's.
    async fn connect(host: &Host) -> Self {
        let limits = WebSocketConfig::default().max_frame_size(Some(16 << 20)).max_message_size(Some(64 << 20));
        Self(connect_async_with_config(&host.url, Some(limits), false).await.expect("the host listens").0)
    }

    async fn ask(&mut self, request: Value) -> Value {
        self.0.send(Message::text(request.to_string())).await.expect("the host reads");
        loop {
            let answer = tokio::time::timeout(Duration::from_secs(60), self.0.next()).await.expect("an answer in time");
            match answer.expect("the host answers").expect("an answer within the limits") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Stores a trace in parts, each of which fits into a message.
    async fn store(&mut self, header: &FlowTrace, events: usize, attribute: &str) {
        for part in (0..events).collect::<Vec<_>>().chunks(5_000) {
            let event = |number: &usize| {
                let mut event = TraceEvent { actor_id: format!("actor {number}"), ..TraceEvent::default() };
                event.data.performance_metrics = PerformanceMetrics::ZERO;
                event.data.custom_attributes.insert("attribute".into(), json!(attribute));
                event
            };
            let trace = FlowTrace { events: part.iter().map(event).collect(), ..header.clone() };
            let answer = self.ask(json!({"StoreTrace": {"trace": trace}})).await;
            assert!(answer["TraceStored"].is_object(), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_of_sixty_thousand_events_is_taken_by_a_client() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let mut client = Client::connect(&host).await;
    let trace = FlowTrace::new(FlowId::new("long"), FlowVersion::default());
    client.store(&trace, 60_000, "").await;
    let answer = client.ask(json!({"GetTrace": {"request_id": 1, "trace_id": trace.trace_id}})).await;
    assert_eq!(answer["TraceData"]["request_id"], 1);
    assert_eq!(answer["TraceData"]["trace"]["events"].as_array().expect("its events").len(), 60_000);
    let size = answer.to_string().len();
    assert!(size > 16 << 20, "the test needs an answer over 16 MiB: {size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_over_the_limit_is_an_error_and_not_memory() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let mut client = Client::connect(&host).await;
    let trace = FlowTrace::new(FlowId::new("longer"), FlowVersion::default());
    // 300 MiB.
    client.store(&trace, 150_000, &"x".repeat(1_500)).await;
    drop(host);

    let host = Host::start(&setting);
    let mut client = Client::connect(&host).await;
    let answer = client.ask(json!({"GetTrace": {"request_id": "large", "trace_id": trace.trace_id}})).await;
    assert_eq!(answer["Error"]["request_id"], "large");
    let message = answer["Error"]["message"].as_str().expect("a text");
    assert!(message.contains("64 MiB") && message.contains("export"), "{message}");
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string(format!("/proc/{}/status", host.process_id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak of its memory");
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(kib < 220 << 10, "{kib} KiB for an answer of 64 MiB at most");
    }
}
