//! The plugin `opensearch`, over a stand-in for OpenSearch that the test starts.

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
    runtime.compile("opensearch", &plugin("opensearch"), &config("http://localhost", json!({}))).await.expect("it compiles")
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

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_the_conformance_suite() {
    let _turn = turn();
    let (component, server, case) = (compiled().await, OpenSearch::start(None), AtomicU32::new(0));
    // Small requests and answers, so that the suite sees several of each.
    let report = Suite::new()
        .run(|| async {
            let index = format!("case-{}", case.fetch_add(1, Ordering::Relaxed));
            let settings = json!({ "index": index, "max_request_kb": 1_024, "max_answer_kb": 4_096 });
            Ok(Subject::new(opened(&component, &config(server.origin(), settings)).await?))
        })
        .await;
    report.assert_passed();
}
