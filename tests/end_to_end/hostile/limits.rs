//! Exceeds every limit of a plugin.

use reflow_tracing::plugin::{Limits, PluginBackend, PluginConfig};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{FlowId, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_tests::{Backend, Host, Setting, test_plugin};

use super::{Hostile, costs_its_own_call_only, limits, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_stopped_at_the_limit_of_processor_time() {
    let limits = Limits { cpu_ms: 300, call_timeout_ms: 60_000, ..limits() };
    for how in ["spin", "call"] {
        within(limits.clone(), how, "more than 300 ms of processor time (plugins.hostile.limits.cpu_ms)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_as_large_as_configured() {
    let descend = async |stack_kb, depth: u64| {
        let hostile = Hostile::load(Limits { stack_kb, ..limits() }).await;
        let tags = [("depth".to_owned(), depth.to_string())].into_iter().collect();
        let query = TraceQuery { flow_id: Some(FlowId::new("descend")), tags, ..TraceQuery::default() };
        let error = hostile.backend.query_traces(query).await.expect_err("it answers with an error");
        hostile.backend.health_check().await.expect("the next call is answered");
        error.to_string()
    };
    // 64 KiB are too few for what 16 MiB are enough for; and these end too.
    assert!(descend(64, 10_000).await.contains("too deeply"));
    assert!(descend(16 * 1024, 10_000).await.ends_with("10000"));
    within(Limits { stack_kb: 16 * 1024, ..limits() }, "recurse", "`hostile`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_larger_than_allowed_is_refused() {
    let error = Hostile::try_load(Limits { table_elements: 1, ..limits() }, Default::default()).await.err();
    let text = error.expect("its functions are more than one").to_string();
    assert!(text.contains("plugins.hostile.limits.table_elements"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_handed_over_again_and_again_are_counted_each_time() {
    // It is much work, which a busy machine must not end before the limit does.
    let limits = Limits { call_timeout_ms: 60_000, ..limits() };
    within(limits, "hand-over", "plugins.hostile.limits.result_mb").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_handles_end_at_the_limit() {
    let limits = Limits { handles: 50, ..limits() };
    within(limits, "batches", "already holds 50 handles, the maximum of plugins.hostile.limits.handles").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_events_end_at_the_limit() {
    for how in ["push", "push-to-many"] {
        let hostile = Hostile::load(Limits { result_mb: 2, instances: 1, ..limits() }).await;
        let event = TraceEvent { actor_id: "x".repeat(500), ..TraceEvent::default() };
        hostile.backend.store_event(TraceId::new(), event).await.expect("it is taken");
        let error = hostile.misbehave(how).await;
        let text = error.to_string();
        assert!(
            matches!(error, StorageError::Exhausted(_)) && text.contains("plugins.hostile.limits.result_mb"),
            "{text}"
        );
        // The call left nothing behind: the same instance can repeat it.
        hostile.backend.store_event(TraceId::new(), TraceEvent::default()).await.expect("it is taken");
        assert!(hostile.misbehave(how).await.to_string().contains("result_mb"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_frees_everything_that_its_call_held() {
    // With a single connection: the transaction's must be back, and its lock.
    let hostile = Hostile::load(Limits { connections: 2, instances: 1, ..limits() }).await;
    // Fewer failures than would pause the plugin.
    for _ in 0..4 {
        let text = hostile.misbehave("hold").await.to_string();
        assert!(text.contains("stopped itself"), "{text}");
    }
    assert_eq!(hostile.tables().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_grants_are_refused_by_name() {
    for (how, reason) in [
        ("forbidden-bucket", "no bucket is granted under the label `vault`"),
        ("forbidden-secret", "no secret is granted under the label `vault`"),
    ] {
        costs_its_own_call_only(how, reason).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_import_is_refused_by_name() {
    let loaded = PluginBackend::load("foreign", &test_plugin("foreign"), &PluginConfig::default()).await;
    let text = loaded.err().expect("it does not load").to_string();
    assert!(text.contains("`foreign`") && text.contains("evil:host/thing"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_metrics_is_bounded() {
    let hostile = Hostile::load(limits()).await;
    assert!(hostile.misbehave("metrics").await.to_string().contains("counted"));
    assert_eq!(hostile.backend.metrics().len(), 100);
}

#[test]
fn a_flood_of_messages_is_bounded_and_counted() {
    let setting = Setting::new(Backend::Hostile);
    let output = setting.run(&["query", "--flow", "log"]);
    let log = String::from_utf8_lossy(&output.stderr);
    let written = log.lines().filter(|line| line.contains("flood")).count();
    // A hundred a second, in the one second that its call may take and the one in which it began.
    assert!((100..=300).contains(&written), "{written}\n{log}");
    assert!(log.contains("the others are dropped") && log.contains("messages were dropped at the end"), "{log}");
    // The host is none the worse.
    let _host = Host::start(&setting);
}
