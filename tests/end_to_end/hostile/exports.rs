//! A trap in each of the functions that a plugin exports.

use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TraceQuery};

use super::{Hostile, Settings, limits};

fn trap_in(export: &str) -> Settings {
    [("trap".to_owned(), export.into())].into_iter().collect()
}

/// Calls the method behind the export. Returns the outcome.
async fn call(hostile: &Hostile, export: &str) -> Result<(), StorageError> {
    let backend = &hostile.backend;
    match export {
        "store-traces" => backend.store_trace(FlowTrace::new(FlowId::new("f"), FlowVersion::default())).await,
        "store-events" => backend.store_event(TraceId::new(), TraceEvent::default()).await,
        "get-traces" => backend.get_headers(vec![TraceId::new()]).await.map(drop),
        "query-traces" => backend.query_traces(TraceQuery::default()).await.map(drop),
        "get-events" => backend.get_events(TraceId::new()).await.map(drop),
        "delete-traces" => backend.delete_trace(TraceId::new()).await.map(drop),
        "get-stats" => backend.stats().await.map(drop),
        _ => panic!("{export} is not an export that a test can call"),
    }
}

const EXPORTS: [&str; 7] =
    ["store-traces", "store-events", "get-traces", "query-traces", "get-events", "delete-traces", "get-stats"];

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_any_export_fails_only_its_own_call() {
    for export in EXPORTS {
        let hostile = Hostile::try_load(limits(), trap_in(export)).await.expect("it loads");
        let error = call(&hostile, export).await.expect_err("it traps");
        let text = error.to_string();
        assert!(text.contains("`hostile`") && text.contains("stopped itself"), "{export}: {text}");
        assert!(text.contains(&format!("in {export}, on request")), "{export}: {text}");
        for other in EXPORTS.into_iter().filter(|&other| other != export) {
            call(&hostile, other).await.unwrap_or_else(|error| panic!("{other} after a trap in {export}: {error}"));
        }
        hostile.backend.health_check().await.unwrap_or_else(|error| panic!("after a trap in {export}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_traps_on_opening_or_inspection_does_not_load() {
    for export in ["open", "health-check"] {
        let error = Hostile::try_load(limits(), trap_in(export)).await.err().expect("it does not load");
        let text = error.to_string();
        assert!(text.contains("`hostile`") && text.contains("stopped itself"), "{export}: {text}");
        assert!(text.contains(export), "{export}: {text}");
    }
}
