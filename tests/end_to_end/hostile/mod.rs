//! A fault of a plugin affects only the call that hit it, with an error that names the plugin and the reason.

mod attacks;
mod exports;
mod fairness;
mod limits;

use std::path::Path;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginConfig};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{FlowId, TraceQuery};
use reflow_tracing_tests::{Backend, Host, Setting, test_plugin};
use tempfile::TempDir;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

struct Hostile {
    backend: PluginBackend,
    folder: TempDir,
}

/// The table `[plugins.hostile.config]`.
type Settings = serde_json::Map<String, serde_json::Value>;

impl Hostile {
    async fn load(limits: Limits) -> Self {
        Self::try_load(limits, Default::default()).await.expect("it loads")
    }

    async fn try_load(limits: Limits, config: Settings) -> Result<Self, StorageError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let grants = Grants {
            sql: [("default".into(), format!("sqlite:{}", path("granted.db")))].into(),
            keyvalue: [("default".into(), format!("file:{}", path("bucket.db")))].into(),
            ..Grants::default()
        };
        let config = PluginConfig { grants, limits, config, ..Default::default() };
        let backend = PluginBackend::load("hostile", &test_plugin("hostile"), &config).await?;
        Ok(Self { backend, folder })
    }

    async fn misbehave(&self, how: &str) -> StorageError {
        let query = TraceQuery { flow_id: Some(FlowId::new(how)), ..TraceQuery::default() };
        self.backend.query_traces(query).await.expect_err("it misbehaves")
    }

    async fn tables(&self) -> u64 {
        self.backend.stats().await.expect("it answers").traces
    }
}

/// Short enough for a test, long enough for a legitimate call on a slow machine.
fn limits() -> Limits {
    Limits { memory_mb: 32, call_timeout_ms: 2_000, instances: 2, ..Limits::default() }
}

/// Checks that the error names the plugin and the reason, and that the plugin answers the next call.
async fn costs_its_own_call_only(how: &str, reason: &str) {
    within(limits(), how, reason).await;
}

/// The same within these limits.
async fn within(limits: Limits, how: &str, reason: &str) {
    let hostile = Hostile::load(limits).await;
    let error = hostile.misbehave(how).await;
    let text = error.to_string();
    assert!(text.contains("`hostile`") && text.contains(reason), "`{how}`: {text}");
    hostile.backend.health_check().await.expect("the next call is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_fails_only_its_own_call() {
    costs_its_own_call_only("trap", "stopped itself").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_explained_by_what_the_plugin_printed() {
    costs_its_own_call_only("trap", "on request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_is_stopped_at_the_time_limit() {
    costs_its_own_call_only("spin", "longer than 2000 ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn growing_memory_ends_at_the_limit() {
    costs_its_own_call_only("allocate", "more than 32 MiB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_recursion_is_stopped() {
    costs_its_own_call_only("recurse", "too deeply").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_answer_is_an_error() {
    costs_its_own_call_only("garbage", "body of version").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_larger_than_asked_for_is_an_error() {
    costs_its_own_call_only("flood", "it returned 101 traces, but 100 were requested").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_was_not_granted_is_refused() {
    costs_its_own_call_only("forbidden-label", "no database is granted under the label `secrets`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_query_is_stopped_at_the_time_limit() {
    costs_its_own_call_only("endless-query", "longer than 2000 ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_plugin_stays_within_its_file() {
    for how in ["attach", "copy-out", "weaken"] {
        costs_its_own_call_only(how, "plugins are not allowed to do this").await;
    }
    assert!(!Path::new("stolen.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_trap_leaves_open_is_rolled_back() {
    let hostile = Hostile::load(limits()).await;
    hostile.misbehave("abandoned-transaction").await;
    assert_eq!(hostile.tables().await, 0, "the table must be gone");
    // The lock too: another connection can write.
    let path = hostile.folder.path().join("granted.db");
    let other = reflow_tracing::storage::SqliteStorage::new(&path).await.expect("the file is free");
    other.health_check().await.expect("it can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_calls_are_answered_during_an_endless_loop() {
    let hostile = Hostile::load(limits()).await;
    let (error, ()) = tokio::join!(hostile.misbehave("spin"), async {
        for _ in 0..50 {
            hostile.backend.health_check().await.expect("the other instance answers");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_fails_when_every_instance_is_busy() {
    let hostile = Hostile::load(Limits { instances: 1, ..limits() }).await;
    let (_, waited) = tokio::join!(hostile.misbehave("spin"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        hostile.backend.health_check().await
    });
    // The loop is stopped first: this call either runs, or fails because all instances were busy.
    if let Err(error) = waited {
        assert!(error.is_retryable() && error.to_string().contains("were busy"), "{error}");
    }
    hostile.backend.health_check().await.expect("the instance was replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_a_hostile_plugin_goes_on() {
    let setting = Setting::new(Backend::Hostile);
    let host = Host::start(&setting);
    let (mut victim, _) = connect_async(&host.url).await.expect("the host listens");
    let (mut bystander, _) = connect_async(&host.url).await.expect("the host listens");
    for (how, reason) in [("trap", "stopped itself"), ("spin", "longer than 1000 ms"), ("allocate", "more than 32 MiB")]
    {
        let query = serde_json::to_string(&TraceQuery { flow_id: Some(FlowId::new(how)), ..TraceQuery::default() });
        let request = format!(r#"{{"QueryTraces":{{"query":{}}}}}"#, query.expect("it is written"));
        victim.send(Message::text(request)).await.expect("sent");
        bystander.send(Message::text(r#"{"GetFlowVersions":{"flow_id":"f"}}"#)).await.expect("sent");

        let untouched = bystander.next().await.expect("an answer").expect("a frame");
        assert_eq!(untouched.to_text().expect("text"), r#"{"FlowVersions":{"versions":[]}}"#, "beside `{how}`");
        let refusal = victim.next().await.expect("an answer").expect("a frame");
        let refusal = refusal.to_text().expect("text");
        assert!(refusal.contains("Error") && refusal.contains("`hostile`") && refusal.contains(reason), "{refusal}");

        // The same connection too.
        victim.send(Message::text(r#""Ping""#)).await.expect("sent");
        let pong = victim.next().await.expect("an answer").expect("a frame");
        assert_eq!(pong.to_text().expect("text"), r#""Pong""#);
    }
    host.stop();
}
