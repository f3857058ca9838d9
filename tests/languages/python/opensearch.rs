//! The plugin `opensearch`, over a stand-in for OpenSearch that the test starts.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use reflow_tracing::plugin::{PluginBackend, PluginComponent, PluginConfig, PluginRuntime, PluginRuntimeConfig};
use reflow_tracing::storage::conformance::{Subject, Suite};
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{FlowId, FlowTrace, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_tests::servers::OpenSearch;
use reflow_tracing_tests::{event_of_id, host_program, plugin};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::author::turn;

const TOKEN: &str = "ApiKey c2VjcmV0";

/// The plugin, compiled.
async fn compiled() -> PluginComponent {
    let cache_dir = Some(host_program().with_file_name("compiled-plugins").join("reflow-tracing"));
    let runtime = PluginRuntime::new(&PluginRuntimeConfig { cache_dir, ..Default::default() }).expect("it is valid");
    runtime
        .compile("opensearch", &plugin("opensearch"), &config("http://localhost", json!({})))
        .await
        .expect("it compiles")
}

/// The configuration for this server, with more settings.
fn config(origin: &str, more: Value) -> PluginConfig {
    let mut config = json!({
        "grants": { "http": [origin] },
        "config": { "url": origin },
        "limits": { "call_timeout_ms": 60_000, "cpu_ms": 60_000 },
    });
    let settings = config["config"].as_object_mut().expect("a table");
    settings.extend(more.as_object().expect("a table").clone());
    serde_json::from_value(config).expect("a configuration")
}

async fn opened(component: &PluginComponent, config: &PluginConfig) -> Result<PluginBackend, StorageError> {
    PluginBackend::open("opensearch", component.clone(), config).await
}

/// Runs a test on a runtime of its own, when it is its turn.
fn run<T>(test: impl Future<Output = T>) -> T {
    let _turn = turn();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(test)
}

#[test]
fn it_passes_the_conformance_suite() {
    run(async {
        let (component, server, case) = (compiled().await, OpenSearch::start(None), AtomicU32::new(0));
        // Small requests and answers, so that the suite sees several of each.
        let store = || async {
            let index = format!("case-{}", case.fetch_add(1, Ordering::Relaxed));
            let settings = json!({ "index": index, "max_request_kb": 1_024, "max_answer_kb": 4_096 });
            Ok(Subject::new(opened(&component, &config(server.origin(), settings)).await?))
        };
        Suite::new().run(store).await.assert_passed();
    });
}

#[test]
fn each_failure_says_what_failed_and_whether_a_retry_helps() {
    run(async {
        let (component, server) = (compiled().await, OpenSearch::start(Some(TOKEN)));
        let refused = |error: StorageError, kind: &str, retryable: bool, parts: &[&str]| {
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "no {parts:?} in: {text}");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{text}");
        };

        let without = opened(&component, &config(server.origin(), json!({}))).await.err().expect("it needs a token");
        refused(without, "plugin", false, &["401", "authorization"]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secret = folder.path().join("token");
        std::fs::write(&secret, TOKEN).expect("a file of our own");
        let mut granted = config(server.origin(), json!({}));
        let header = ("authorization".to_owned(), format!("{{file:{}}}", secret.display()));
        granted.grants.http[0].headers.extend([header]);
        let store = opened(&component, &granted).await.expect("the host sets the header");

        let trace = FlowTrace { flow_id: FlowId::new("orders"), ..FlowTrace::default() };
        let write = async || store.store_trace(trace.clone()).await.expect_err("it is refused");
        let error = |kind: &str, reason: &str| json!({ "type": kind, "reason": reason });
        let answers = |status: u16, kind: &str, reason: &str| {
            let error = error(kind, reason);
            server.answer_next("/_bulk", &[(status, json!({ "error": error, "status": status }))]);
        };
        answers(429, "rejected_execution_exception", "rejected execution of coordinating operation");
        refused(write().await, "unavailable", true, &["429", "rejected execution"]);
        answers(503, "cluster_manager_not_discovered_exception", "no cluster manager");
        refused(write().await, "unavailable", true, &["503", "no cluster manager"]);
        answers(400, "illegal_argument_exception", "The number of documents is too large");
        refused(write().await, "plugin", false, &["POST /_bulk", "400", "The number of documents"]);
        answers(403, "security_exception", "no permissions for [indices:data/write/bulk]");
        refused(write().await, "plugin", false, &["403", "no permissions", "README"]);
        server.answer_next("/_bulk", &[(413, json!("too large"))]);
        refused(write().await, "exhausted", false, &["413", "max_request_kb"]);

        // Errors in an answer that says 200.
        let item = |status: u16, error: Value| {
            let item = json!({ "_index": "reflow-tracing-traces", "_id": "7", "status": status, "error": error });
            server.answer_next("/_bulk", &[(200, json!({ "errors": true, "items": [{ "update": item }] }))]);
        };
        item(429, error("circuit_breaking_exception", "Data too large"));
        refused(write().await, "unavailable", true, &["a write of 7", "Data too large"]);
        item(400, error("mapper_parsing_exception", "failed to parse field [start]"));
        refused(write().await, "plugin", false, &["failed to parse field [start]"]);
        let failed = json!({ "total": 2, "successful": 1, "skipped": 0, "failed": 1 });
        server.answer_next(
            "/_search",
            &[(200, json!({ "timed_out": false, "_shards": failed, "hits": { "hits": [] } }))],
        );
        let partial = store.query_traces(TraceQuery::default()).await.expect_err("a part of an answer is none");
        refused(partial, "unavailable", true, &["all shards"]);
        server.answer_next(
            "/_search",
            &[(
                400,
                json!({ "error": { "root_cause": [error("query_shard_exception", "wildcard is off")],
            "type": "search_phase_execution_exception", "reason": "all shards failed" }, "status": 400 }),
            )],
        );
        let unsearched = store.query_traces(TraceQuery::default()).await.expect_err("it is refused");
        refused(unsearched, "plugin", false, &["wildcard is off"]);

        // After all of that it works, and what was refused can be written.
        store.store_trace(trace.clone()).await.expect("it is stored");
        drop(server);
        refused(write().await, "unavailable", true, &["can't be reached"]);
    });
}

#[test]
fn a_full_disk_is_told_apart_and_reads_go_on() {
    run(async {
        let (component, server) = (compiled().await, OpenSearch::start(None));
        let store = opened(&component, &config(server.origin(), json!({ "index": "full" }))).await.expect("it opens");
        let trace = FlowTrace { trace_id: TraceId(Uuid::from_u128(7)), ..FlowTrace::default() };
        store.store_trace(trace.clone()).await.expect("it is stored");
        // What OpenSearch does above the flood-stage watermark.
        let blocked = |blocked: Value| {
            let block = json!({ "index.blocks.read_only_allow_delete": blocked });
            server.ask("PUT", "/full-traces,full-events/_settings", &block);
        };
        blocked(json!(true));
        let error = store.store_event(trace.trace_id, event_of_id(Uuid::from_u128(1))).await.expect_err("it is full");
        assert!(matches!(error, StorageError::Exhausted(_)), "{error}");
        let error = store.health_check().await.expect_err("it is full");
        assert!(error.to_string().contains("read_only_allow_delete"), "{error}");
        assert_eq!(store.get_trace(trace.trace_id).await.expect("it is read"), Some(trace.clone()));
        blocked(json!(false));
        store.health_check().await.expect("there is room again");
        store.store_event(trace.trace_id, event_of_id(Uuid::from_u128(1))).await.expect("it is stored");
    });
}

#[test]
fn actors_that_are_too_long_or_too_many_for_an_index_are_found() {
    run(async {
        let (component, server) = (compiled().await, OpenSearch::start(None));
        let store = opened(&component, &config(server.origin(), json!({}))).await.expect("it opens");
        let traces =
            [1, 2].map(|number| FlowTrace { trace_id: TraceId(Uuid::from_u128(number)), ..FlowTrace::default() });
        store.store_traces(traces.to_vec()).await.expect("they are stored");
        let acts =
            |number: u128, actor: String| TraceEvent { actor_id: actor.into(), ..event_of_id(Uuid::from_u128(number)) };
        let long = format!("{}-the-end", "é".repeat(500));
        let many = (0..1_100).map(|number| (traces[1].trace_id, acts(number, format!("worker-{number}"))));
        let events = many.chain([(traces[0].trace_id, acts(5_000, long.clone()))]).collect();
        store.store_events(events).await.expect("they are stored");
        let found = async |part: &str| {
            let query = TraceQuery { actor_filter: Some(part.into()), ..TraceQuery::default() };
            let found = store.query_headers(query.into()).await.expect("it is searched").traces;
            found.into_iter().map(|trace| trace.trace_id.0.as_u128()).collect::<Vec<_>>()
        };
        for (part, traces) in [("-the-end", vec![1]), ("é-the", vec![1]), (&long, vec![1]), ("É", vec![])] {
            assert_eq!(found(part).await, traces, "{part}");
        }
        for number in [0, 999, 1_000, 1_099] {
            assert_eq!(found(&format!("worker-{number}")).await, [2]);
        }
        assert_eq!(found("worker-1100").await, []);
    });
}
