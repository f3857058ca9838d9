//! What the measuring layer counts, around a backend and inside of the other layers.

use std::future::pending;
use std::time::Duration;

use futures::StreamExt;
use reflow_tracing_conformance::faults::Faulty;
use reflow_tracing_memory::MemoryStorage;
use reflow_tracing_model::{FlowTrace, MAX_NAME_BYTES, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_storage::metrics::Metered;
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageMetrics};

#[tokio::test]
async fn calls_are_counted_by_purpose_method_and_outcome() {
    let storage = MemoryStorage::new();
    let trace = FlowTrace { events: vec![TraceEvent::default()], ..FlowTrace::default() };
    let trace_id = trace.trace_id;
    storage.store_traces(vec![trace.clone(), FlowTrace::default()]).await.unwrap();
    storage.store_event(trace_id, TraceEvent::default()).await.unwrap();
    let too_long = TraceEvent { actor_id: "x".repeat(MAX_NAME_BYTES + 1), ..TraceEvent::default() };
    storage.store_event(trace_id, too_long).await.unwrap_err();
    storage.get_trace(trace_id).await.unwrap();
    assert_eq!(storage.stream_events(trace_id).count().await, 2);
    storage.query_traces(TraceQuery::default()).await.unwrap();
    storage.headerless_traces(None, 1).await.unwrap();
    storage.delete_trace(trace_id).await.unwrap();

    let metrics = storage.get_metrics().await.unwrap();
    let counts = [&metrics.writes, &metrics.reads, &metrics.queries, &metrics.deletes].map(|calls| calls.calls);
    assert_eq!(counts, [3, 2, 2, 1]);
    assert_eq!((metrics.traces_stored, metrics.events_stored), (2, 2));
    assert_eq!((metrics.writes.errors, metrics.reads.errors), (1, 0));
    assert_eq!(metrics.calls["store_event"].errors_by_kind, [("invalid_argument".to_owned(), 1)].into());
    let names: Vec<_> = metrics.calls.keys().map(String::as_str).collect();
    let called =
        ["delete", "get_trace", "headerless_traces", "query_traces", "store_event", "store_traces", "stream_events"];
    assert_eq!(names, called);
    for latency in [metrics.avg_write_latency_ms, metrics.avg_read_latency_ms, metrics.avg_query_latency_ms] {
        assert!(latency > 0.0, "{metrics:?}");
    }
    assert!(metrics.storage_size_mb > 0.0, "{metrics:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_on_is_counted() {
    let storage = Metered::around(Faulty::around(MemoryStorage::new()).before(|_| pending()));
    let call = storage.store_events(vec![(TraceId::new(), TraceEvent::default())]);
    tokio::time::timeout(Duration::from_secs(1), call).await.unwrap_err();
    // The backend does not tell its size either, and the rest is reported nevertheless.
    let metrics = storage.get_metrics().await.unwrap();
    assert_eq!(metrics.calls["store_events"].errors_by_kind, [("abandoned".to_owned(), 1)].into());
    assert_eq!((metrics.events_stored, metrics.storage_bytes), (0, None));
}

#[test]
fn an_unknown_size_is_not_a_number_and_null_in_json() {
    let metrics = StorageMetrics::unmeasured(None);
    assert!(metrics.storage_size_mb.is_nan());
    let json = serde_json::to_value(&metrics).unwrap();
    assert_eq!(json["storage_size_mb"], serde_json::Value::Null);
    let back: StorageMetrics = serde_json::from_value(json).unwrap();
    assert!(back.storage_size_mb.is_nan());
}
