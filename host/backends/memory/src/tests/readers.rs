//! Concurrent readers and writers.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use chrono::DateTime;
use reflow_tracing_storage::StorageBackendExt;

use super::*;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// Runs the work on another thread. Fails after a time that only a deadlock takes.
fn finishes<T, F>(storage: &Arc<MemoryStorage>, work: impl FnOnce(Arc<MemoryStorage>) -> F + Send + 'static) -> T
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let storage = storage.clone();
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(block_on(work(storage))));
    wait.recv_timeout(Duration::from_secs(30)).expect("the work doesn't wait for a lock that its test holds")
}

#[test]
fn readers_do_not_wait_for_each_other() {
    let storage = Arc::new(MemoryStorage::new());
    let trace = FlowTrace { events: vec![TraceEvent::default()], ..traces_of(1).remove(0) };
    block_on(storage.store_trace(trace.clone())).unwrap();
    let reader = storage.0.inner().read();
    let expected = trace.clone();
    finishes(&storage, async move |storage| {
        let query = TraceQuery::default();
        assert_eq!(storage.get_trace(expected.trace_id).await.unwrap().as_ref(), Some(&expected));
        assert_eq!(storage.get_events(expected.trace_id).await.unwrap(), expected.events);
        assert_eq!(storage.query_traces(query).await.unwrap(), [expected]);
        assert_eq!(storage.stats().await.unwrap().traces, 1);
    });
    drop(reader);
}

#[test]
fn a_snapshot_does_not_change_and_does_not_block_writers() {
    let storage = Arc::new(MemoryStorage::new());
    let mut trace = traces_of(1).remove(0);
    trace.events = vec![TraceEvent { timestamp: DateTime::from_timestamp_nanos(1), ..Default::default() }];
    block_on(storage.store_trace(trace.clone())).unwrap();
    let snapshot = storage.0.inner().read().traces.get(trace.trace_id).and_then(Entry::snapshot).unwrap();
    let later = TraceEvent { timestamp: DateTime::from_timestamp_nanos(2), ..Default::default() };
    let (trace_id, event) = (trace.trace_id, later.clone());
    finishes(&storage, async move |storage| storage.store_event(trace_id, event).await).unwrap();
    assert_eq!(block_on(storage.get_events(trace.trace_id)).unwrap(), [trace.events[0].clone(), later]);
    assert!(finishes(&storage, async move |storage| storage.delete_trace(trace_id).await).unwrap());
    assert_eq!(snapshot.to_trace(), trace);
}

#[test]
fn events_stored_in_any_order_are_read_in_order() {
    let storage = MemoryStorage::new();
    let trace_id = TraceId::new();
    let mut events = Vec::new();
    for number in 0..3_000_i64 {
        let timestamp = DateTime::from_timestamp_nanos(number * 1_999 % 3_001);
        events.push(TraceEvent { timestamp, ..Default::default() });
    }
    for event in &events {
        block_on(storage.store_event(trace_id, event.clone())).unwrap();
    }
    block_on(storage.store_events(events.iter().map(|event| (trace_id, event.clone())).collect())).unwrap();
    events.sort_by_key(TraceEvent::key);
    assert_eq!(block_on(storage.get_events(trace_id)).unwrap(), events);
}
