//! The capability `keyvalue` through a plugin. The plugin host's own tests cover buckets in detail.

use std::fs;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reflow_tracing::plugin::{Grants, Limits, PluginConfig};
use reflow_tracing::storage::StorageError;
use reflow_tracing_protocol::{FlowId, FlowVersion, TraceEvent, TraceId, TracingRequest, TracingResponse};
#[cfg(unix)]
use reflow_tracing_tests::servers::RedisServer;
use reflow_tracing_tests::{Backend, Host, Setting, test_plugin};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::probe::Probe;

const TOUR: &str = "get Some([49]) None; many [Some([50]), None]; delete true false; exchange false true; \
                    list [[99]] [[100]] None; scan [[53], [54]]; entries 2; too long true";

async fn with_bucket(url: &str, limits: Limits) -> Probe {
    let grants = Grants { keyvalue: [("b".into(), url.into())].into(), ..Grants::default() };
    Probe::load(PluginConfig { grants, limits, ..PluginConfig::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bucket_behaves_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("new/bucket.db");
    let mut urls = vec!["memory:".to_owned(), format!("file:{}", file.display())];
    #[cfg(unix)]
    let server = RedisServer::start();
    #[cfg(unix)]
    urls.push(server.url());
    for url in urls {
        let probe = with_bucket(&url, Limits::default()).await;
        assert_eq!(probe.ask("keyvalue", &[("label", "b")]).await, TOUR, "{url}");
    }
    assert!(file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_instances_share_a_memory_bucket() {
    let probe = with_bucket("memory:", Limits { instances: 4, ..Limits::default() }).await;
    let keys: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    let sets = keys.iter().map(|key| async { probe.ask("keyvalue-set", &[("label", "b"), ("key", key)]).await });
    futures::future::join_all(sets).await;
    assert_eq!(probe.ask("keyvalue-keys", &[("label", "b")]).await, keys.join(","));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_was_not_granted_is_refused() {
    let probe = with_bucket("memory:", Limits::default()).await;
    let refused = probe.try_ask("keyvalue", &[("label", "other")]).await;
    assert!(matches!(&refused, StorageError::InvalidArgument(message) if message.contains("`other`")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_locked_file_ends_with_the_time_of_the_call() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bucket.db");
    let limits = Limits { call_timeout_ms: 1_000, ..Limits::default() };
    let probe = with_bucket(&format!("file:{}", file.display()), limits).await;
    probe.ask("keyvalue-set", &[("label", "b"), ("key", "a")]).await;
    let other = rusqlite::Connection::open(&file).expect("the file is there");
    other.execute_batch("BEGIN IMMEDIATE").expect("no one else writes");
    let stopped = probe.try_ask("keyvalue-set", &[("label", "b"), ("key", "b")]).await.to_string();
    assert!(stopped.contains("longer than 1000 ms") && stopped.contains("`probe`"), "{stopped}");
    // Reads do not wait.
    assert_eq!(probe.ask("keyvalue-keys", &[("label", "b")]).await, "a");
    other.execute_batch("ROLLBACK").expect("it was begun");
    // The cancelled write may or may not happen; the next one must.
    let again = async {
        loop {
            if let StorageError::NotFound(_) = probe.try_ask("keyvalue-set", &[("label", "b"), ("key", "c")]).await {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("the file is free");
    assert!(probe.ask("keyvalue-keys", &[("label", "b")]).await.ends_with('c'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_a_file_keeps_acknowledged_writes_after_a_kill() {
    const EVENTS: usize = 300;
    let setting = Setting::new(Backend::Sqlite);
    fs::copy(test_plugin("probe"), setting.path().join("plugins/probe.wasm")).expect("a copy of the plugin");
    setting.write(
        "[server]\nport = 0\n[storage]\nbackend = \"probe\"\n\
         [plugins.probe]\ngrants = { keyvalue = { events = \"file:buckets/events.db\" } }\n\
         limits = { call_timeout_ms = 60000 }\n",
    );
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
    for _ in 0..=EVENTS {
        let answer = tokio::time::timeout(Duration::from_secs(60), socket.next()).await;
        let answer = answer.expect("in time").expect("an answer").expect("a frame");
        match serde_json::from_str(answer.to_text().expect("text")).expect("a response") {
            TracingResponse::TraceStarted { .. } | TracingResponse::EventRecorded { success: true, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    host.kill();

    let file = rusqlite::Connection::open(setting.path().join("buckets/events.db")).expect("the file is there");
    let count: usize =
        file.query_row("SELECT count(*) FROM reflow_keyvalue", [], |row| row.get(0)).expect("it is sound");
    assert_eq!(count, EVENTS);
}
