//! Acknowledged events survive `kill -9`.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reflow_tracing_protocol::{FlowId, FlowVersion, TraceEvent, TraceId, TracingRequest, TracingResponse};
use reflow_tracing_tests::{Backend, Host, Setting};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const EVENTS: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_host_is_killed() {
    for backend in Backend::DURABLE {
        let setting = Setting::new(backend);
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

        // One acknowledgement per request, in order; then the host is killed at once.
        for _ in 0..=EVENTS {
            let answer = tokio::time::timeout(Duration::from_secs(60), socket.next()).await;
            let answer = answer.expect("in time").expect("an answer").expect("a frame");
            match serde_json::from_str(answer.to_text().expect("text")).expect("a response") {
                TracingResponse::TraceStarted { .. } | TracingResponse::EventRecorded { success: true, .. } => {}
                other => panic!("{backend:?}: {other:?}"),
            }
        }
        host.kill();

        let traces = setting.traces();
        assert_eq!(traces.len(), 1, "{backend:?}");
        assert_eq!(traces[0].events.len(), EVENTS, "{backend:?}");

        // The next host uses the same store.
        let host = Host::start(&setting);
        assert_eq!(setting.traces().len(), 1);
        host.stop();
    }
}
