mod queries;
mod readers;

use serde_json::json;

use reflow_tracing_model::{
    FlowId, FlowTrace, FlowVersion, TraceEvent, TraceEventData, TraceId, TracePage, TraceQuery,
};
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};

use crate::entry::Entry;
use crate::{EvictionPolicy, MemoryConfig, MemoryStorage};

const MIB: usize = 1024 * 1024;

fn store(config: MemoryConfig) -> MemoryStorage {
    MemoryStorage::with_config(config)
}

fn traces_of(count: usize) -> Vec<FlowTrace> {
    (0..count).map(|_| FlowTrace::new(FlowId::new("billing"), FlowVersion::default())).collect()
}

/// An event of slightly more than this size.
fn event_of_bytes(bytes: usize) -> TraceEvent {
    TraceEvent { data: TraceEventData { error: Some("e".repeat(bytes)), ..Default::default() }, ..Default::default() }
}

/// Whether each trace is still stored. A query doesn't count as a use.
async fn kept(storage: &MemoryStorage, traces: &[FlowTrace]) -> Vec<bool> {
    let mut kept = Vec::new();
    for trace in traces {
        let of_execution = TraceQuery { execution_id: Some(trace.execution_id), ..Default::default() };
        kept.push(storage.count_traces(of_execution).await.unwrap() == 1);
    }
    kept
}

async fn bytes(storage: &MemoryStorage) -> usize {
    storage.stats().await.unwrap().bytes.unwrap() as usize
}

#[tokio::test]
async fn one_trace_over_the_count_evicts_the_least_recently_used() {
    let storage = store(MemoryConfig { max_traces: 3, ..Default::default() });
    let traces = traces_of(5);
    storage.store_traces(traces[..3].to_vec()).await.unwrap();
    // The first is read and the second is written, so the third is the one that was not used.
    storage.get_trace(traces[0].trace_id).await.unwrap();
    storage.store_event(traces[1].trace_id, TraceEvent::default()).await.unwrap();
    storage.store_trace(traces[3].clone()).await.unwrap();
    assert_eq!(kept(&storage, &traces).await, [true, true, false, true, false]);
    storage.store_trace(traces[4].clone()).await.unwrap();
    assert_eq!(kept(&storage, &traces).await, [false, true, false, true, true]);
}

#[tokio::test]
async fn a_read_of_a_header_by_id_is_a_use() {
    let storage = store(MemoryConfig { max_traces: 2, ..Default::default() });
    let traces = traces_of(3);
    storage.store_traces(traces[..2].to_vec()).await.unwrap();
    storage.get_headers(vec![traces[0].trace_id]).await.unwrap();
    storage.store_trace(traces[2].clone()).await.unwrap();
    assert_eq!(kept(&storage, &traces).await, [true, false, true]);
}

#[tokio::test]
async fn a_query_is_no_use_of_what_it_finds() {
    let storage = store(MemoryConfig { max_traces: 2, ..Default::default() });
    let traces = traces_of(3);
    storage.store_traces(traces[..2].to_vec()).await.unwrap();
    let first = TraceQuery { execution_id: Some(traces[0].execution_id), ..Default::default() };
    assert_eq!(storage.query_traces(first).await.unwrap().len(), 1);
    storage.store_trace(traces[2].clone()).await.unwrap();
    assert_eq!(kept(&storage, &traces).await, [false, true, true]);
}

#[tokio::test]
async fn more_bytes_than_the_limit_evict_as_many_traces_as_it_takes() {
    let storage = store(MemoryConfig { max_memory_mb: 4, ..Default::default() });
    let traces = traces_of(5);
    for trace in &traces[..4] {
        storage.store_trace(trace.clone()).await.unwrap();
        storage.store_event(trace.trace_id, event_of_bytes(MIB - 10_000)).await.unwrap();
    }
    assert_eq!(kept(&storage, &traces).await, [true, true, true, true, false]);
    storage.store_trace(traces[4].clone()).await.unwrap();
    storage.store_event(traces[4].trace_id, event_of_bytes(2 * MIB)).await.unwrap();
    assert_eq!(kept(&storage, &traces).await, [false, false, true, true, true]);
    assert!(bytes(&storage).await <= 4 * MIB);
}

#[tokio::test]
async fn the_trace_that_is_being_written_is_never_evicted() {
    let storage = store(MemoryConfig { max_memory_mb: 4, max_traces: 0, ..Default::default() });
    let traces = traces_of(2);
    storage.store_traces(traces.clone()).await.unwrap();
    storage.store_event(traces[1].trace_id, event_of_bytes(3 * MIB)).await.unwrap();
    assert_eq!(kept(&storage, &traces).await, [false, true]);
    assert_eq!(storage.get_events(traces[1].trace_id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_trace_that_would_not_fit_alone_is_refused_and_keeps_what_it_has() {
    let storage = store(MemoryConfig { max_memory_mb: 4, ..Default::default() });
    let [growing, other] = [TraceId::new(), TraceId::new()];
    let events: Vec<_> = (0..10).map(|_| event_of_bytes(MIB)).collect();
    let mut refused = 0;
    for event in &events {
        if let Err(error) = storage.store_event(growing, event.clone()).await {
            let says_why = matches!(&error, StorageError::InvalidArgument(why) if why.contains("max_memory_mb is 4"));
            assert!(says_why, "{error}");
            refused += 1;
        }
    }
    assert_eq!(refused, 7);
    assert!(bytes(&storage).await <= 4 * MIB);
    storage.store_events(events[..3].iter().map(|event| (growing, event.clone())).collect()).await.unwrap();
    storage.store_event(other, event_of_bytes(3 * MIB)).await.unwrap();
    assert_eq!(storage.get_events(growing).await.unwrap().len(), 0, "another trace may take its place");
}

#[tokio::test]
async fn deleted_and_replaced_values_are_not_counted_any_more() {
    let storage = MemoryStorage::new();
    let mut trace = traces_of(1).remove(0);
    let mut event = event_of_bytes(1_000);
    event.data.custom_attributes.insert("list".into(), json!([{"name": "value"}, [1, 2, 3]]));
    trace.events.push(event);
    trace.metadata.tags.insert("name".into(), "value".repeat(100));
    storage.store_trace(trace.clone()).await.unwrap();
    let once = bytes(&storage).await;
    assert!(once > 1_500, "{once} bytes for a trace with 1,500 bytes of text");
    for _ in 0..3 {
        storage.store_trace(trace.clone()).await.unwrap();
    }
    assert_eq!(bytes(&storage).await, once, "after storing the same again");
    storage.store_trace(FlowTrace { metadata: Default::default(), ..trace.clone() }).await.unwrap();
    assert!(bytes(&storage).await < once - 400, "after the tags were dropped");
    storage.delete_trace(trace.trace_id).await.unwrap();
    assert_eq!(bytes(&storage).await, 0, "after the deletion");
}

#[tokio::test]
async fn an_event_over_the_limit_of_a_trace_is_rejected_and_the_others_stay() {
    let storage = store(MemoryConfig { max_events_per_trace: 2, ..Default::default() });
    let trace = traces_of(1).remove(0);
    let events: Vec<_> = (0..3).map(|_| TraceEvent::default()).collect();
    storage.store_trace(FlowTrace { events: events[..2].to_vec(), ..trace.clone() }).await.unwrap();
    let refusal = storage.store_event(trace.trace_id, events[2].clone()).await.unwrap_err();
    assert!(
        matches!(&refusal, StorageError::InvalidArgument(why) if why.contains("max_events_per_trace")),
        "{refusal}"
    );
    assert!(!refusal.is_retryable());
    // Stored events don't count again.
    storage.store_trace(FlowTrace { events: events[..2].to_vec(), ..trace.clone() }).await.unwrap();
    let mut found = storage.get_events(trace.trace_id).await.unwrap();
    found.sort_by_key(|event| events.iter().position(|stored| stored == event));
    assert_eq!(found, events[..2]);
}

#[tokio::test]
async fn a_rejected_trace_changes_nothing() {
    let storage = store(MemoryConfig { max_events_per_trace: 1, ..Default::default() });
    let mut trace = traces_of(1).remove(0);
    trace.events = vec![TraceEvent::default(), TraceEvent::default()];
    assert!(matches!(storage.store_trace(trace.clone()).await, Err(StorageError::InvalidArgument(_))));
    assert_eq!(storage.get_trace(trace.trace_id).await.unwrap(), None);
    assert!(!storage.delete_trace(trace.trace_id).await.unwrap(), "there was nothing to delete");
}

#[tokio::test]
async fn a_batch_rejected_in_the_middle_keeps_the_limits() {
    let storage = store(MemoryConfig { max_traces: 2, max_events_per_trace: 1, ..Default::default() });
    let ids: Vec<_> = (0..4).map(|_| TraceId::new()).collect();
    let mut batch: Vec<_> = ids.iter().map(|id| (*id, TraceEvent::default())).collect();
    batch.push((ids[3], TraceEvent::default()));
    assert!(matches!(storage.store_events(batch).await, Err(StorageError::InvalidArgument(_))));
    let mut kept = 0;
    for id in ids {
        kept += storage.get_events(id).await.unwrap().len();
    }
    assert_eq!(kept, 2);
}

#[test]
fn the_configuration_accepts_only_the_documented_names() {
    let config: MemoryConfig = serde_json::from_value(json!({
        "max_traces": 1, "max_events_per_trace": 2, "max_memory_mb": 3, "eviction_policy": "LRU"
    }))
    .unwrap();
    let expected =
        MemoryConfig { max_traces: 1, max_events_per_trace: 2, max_memory_mb: 3, eviction_policy: EvictionPolicy::LRU };
    assert_eq!(config, expected);
    assert_eq!(serde_json::from_value::<MemoryConfig>(json!({})).unwrap(), MemoryConfig::default());
    let misspelt = serde_json::from_value::<MemoryConfig>(json!({"max_trace": 1})).unwrap_err();
    assert!(misspelt.to_string().contains("max_trace"), "{misspelt}");
}
