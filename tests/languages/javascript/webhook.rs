//! The plugin `webhook`, and a receiver that the test starts.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reflow_tracing::plugin::{PluginBackend, PluginConfig, PluginRuntime, PluginRuntimeConfig};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{FlowTrace, TraceId, TraceQuery};
use reflow_tracing_tests::{event_of_id, host_program, plugin};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::node;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request that was received.
struct Request {
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().expect("it is text")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Verifies the signature, with other code than the plugin's.
    fn verify(&self) {
        let script = "const { createHmac } = require('node:crypto'); const [key, text] = process.argv.slice(1);
            console.log(createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64'))";
        let body = std::str::from_utf8(&self.body).expect("JSON is text");
        let text = format!("{}.{}.{body}", self.header("webhook-id"), self.header("webhook-timestamp"));
        let key = SECRET.strip_prefix("whsec_").expect("it begins like that");
        let output = Command::new(node()).args(["-e", script, key, &text]).output().expect("Node.js starts");
        let expected = String::from_utf8(output.stdout).expect("it prints text");
        assert_eq!(self.header("webhook-signature"), format!("v1,{}", expected.trim()));
    }
}

/// A receiver that gives these answers, and 200 after them.
#[derive(Clone)]
struct Receiver {
    requests: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> (Self, String) {
        let receiver =
            Self { requests: Arc::default(), answers: Arc::new(Mutex::new(answers.iter().copied().collect())) };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("it is bound"));
        let take = async |State(receiver): State<Self>, headers: HeaderMap, body: Bytes| {
            receiver.requests.lock().expect("no test panicked").push(Request { headers, body });
            let status = receiver.answers.lock().expect("no test panicked").pop_front().unwrap_or(200);
            StatusCode::from_u16(status).expect("a status of ours")
        };
        let router = Router::new().route("/traces", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        (receiver, origin)
    }

    fn received(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().expect("no test panicked"))
    }
}

async fn webhook(origin: &str, folder: &Path) -> PluginBackend {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).expect("a file of our own");
    let config: PluginConfig = serde_json::from_value(json!({
        "grants": { "http": [origin], "secrets": { "signing": format!("file:{}", secret.display()), "token": format!("file:{}", secret.display()) } },
        "config": { "url": format!("{origin}/traces"), "backoff_ms": 10, "secret_headers": { "x-token": "token" } },
        "limits": { "call_timeout_ms": 60_000, "cpu_ms": 60_000 },
    }))
    .expect("a configuration");
    let cache_dir = Some(host_program().with_file_name("compiled-plugins").join("reflow-tracing"));
    let runtime = PluginRuntime::new(&PluginRuntimeConfig { cache_dir, ..Default::default() }).expect("it is valid");
    runtime.load("webhook", &plugin("webhook"), &config).await.expect("it loads")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_posted_signed_and_again_until_it_is_accepted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (receiver, origin) = Receiver::start(&[503, 429]).await;
    let webhook = webhook(&origin, folder.path()).await;

    let trace = FlowTrace { trace_id: TraceId(Uuid::from_u128(7)), ..FlowTrace::default() };
    webhook.store_trace(trace.clone()).await.expect("the third attempt is accepted");
    let requests = receiver.received();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        request.verify();
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("x-token"), SECRET);
        assert_eq!(request.header("webhook-id"), requests[0].header("webhook-id"), "a receiver can drop what it has");
    }
    let posted = requests[2].json();
    assert_eq!(posted["type"], "traces");
    assert_eq!(posted["traces"], json!([serde_json::to_value(&trace).expect("it is written")]));

    let events: Vec<_> = (1..=3).map(|id| (trace.trace_id, event_of_id(Uuid::from_u128(id)))).collect();
    webhook.store_events(events.clone()).await.expect("it is accepted");
    let [request] = &receiver.received()[..] else { panic!("not one request") };
    request.verify();
    let expected: Vec<_> = events.iter().map(|(id, event)| json!({ "trace_id": id, "event": event })).collect();
    assert_eq!(request.json(), json!({ "type": "events", "events": expected }));

    // A refusal is final, and says what to correct.
    receiver.answers.lock().expect("no test panicked").push_back(401);
    let error = webhook.store_trace(trace.clone()).await.expect_err("it is refused");
    assert!(error.to_string().contains("401") && error.to_string().contains("Correct `url`"), "{error}");
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(receiver.received().len(), 1);

    // A receiver that stays away: a bounded number of attempts, and the host may call again.
    receiver.answers.lock().expect("no test panicked").extend([500; 4]);
    let error = webhook.store_trace(trace).await.expect_err("it is away");
    assert!(error.is_retryable() && error.to_string().contains("500"), "{error}");
    assert_eq!(receiver.received().len() % 4, 0, "four attempts a call");

    // It keeps nothing.
    let error = webhook.query_traces(TraceQuery::default()).await.expect_err("it can't be read");
    assert!(matches!(error, StorageError::Unsupported(_)), "{error}");
    webhook.health_check().await.expect("the receiver can be reached");
}
