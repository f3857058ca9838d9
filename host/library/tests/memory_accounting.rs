//! What a memory store says it takes up, beside what the allocator was asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reflow_tracing::storage::{MemoryConfig, MemoryStorage, StorageBackend};
use reflow_tracing::{
    CausalityInfo, EventId, FlowId, FlowTrace, FlowVersion, MessageSnapshot, StateDiff, TraceEvent, TraceEventData,
    TraceEventType, TraceMetadata,
};
use serde_json::{Value, json};

/// The system's allocator, and what each thread holds of it.
pub struct CountingAllocator;

thread_local! {
    /// Bytes allocated less bytes freed by this thread.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends frees things after its own variables are gone: that is of no account here.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

fn held() -> isize {
    HELD.with(Cell::get)
}

/// A large store, so that nothing is evicted.
fn roomy() -> MemoryStorage {
    MemoryStorage::with_config(MemoryConfig { max_traces: 1_000_000, max_memory_mb: 4_096, ..Default::default() })
}

async fn said(storage: &MemoryStorage) -> isize {
    storage.stats().await.unwrap().bytes.unwrap() as isize
}

fn assert_close(what: &str, said: isize, held: isize) {
    let percent = (said - held) as f64 * 100.0 / held as f64;
    println!("{what}: {said} bytes said, {held} held: {percent:+.1} %");
    assert!(percent.abs() <= 20.0, "{what}: {said} bytes said, {held} held: {percent:+.1} %");
}

/// Stores what `traces` makes, a trace a call or the events in batches, and compares.
async fn check(what: &str, count: usize, trace: impl Fn(usize) -> FlowTrace) {
    let before = held();
    let storage = roomy();
    let empty = held() - before;
    for number in 0..count {
        storage.store_trace(trace(number)).await.unwrap();
    }
    let (whole, held_whole) = (said(&storage).await, held() - before - empty);
    drop(storage);
    assert_eq!(held(), before, "{what}: dropping the store frees everything");
    assert_close(&format!("{what}, whole traces"), whole, held_whole);

    // The figures that the test prints are held too, so it starts from here.
    let before = held();
    let storage = roomy();
    for number in 0..count {
        let mut trace = trace(number);
        let trace_id = trace.trace_id;
        let mut events = std::mem::take(&mut trace.events).into_iter().map(|event| (trace_id, event));
        storage.store_trace(trace).await.unwrap();
        // Uneven batches, down to single events.
        for size in (1..8).cycle() {
            let batch: Vec<_> = events.by_ref().take(size).collect();
            if batch.is_empty() {
                break;
            }
            storage.store_events(batch).await.unwrap();
        }
    }
    assert_close(&format!("{what}, events in small batches"), said(&storage).await, held() - before - empty);
}

fn at(second: usize) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + second as i64, 0).unwrap()
}

fn trace(number: usize) -> FlowTrace {
    FlowTrace {
        start_time: at(number),
        metadata: TraceMetadata {
            environment: "production".into(),
            hostname: "worker-17".into(),
            thread_id: "main".into(),
            ..Default::default()
        },
        ..FlowTrace::new(FlowId::new(format!("flow-{}", number % 20)), FlowVersion::default())
    }
}

fn event(number: usize) -> TraceEvent {
    TraceEvent {
        timestamp: at(number),
        event_type: TraceEventType::MessageSent,
        actor_id: format!("actor-{}", number % 5),
        data: TraceEventData { port: Some("out".into()), ..Default::default() },
        causality: CausalityInfo { span_id: format!("{number:016x}"), ..Default::default() },
        ..Default::default()
    }
}

fn traces_of(count: usize, event: impl Fn(usize) -> TraceEvent) -> impl Fn(usize) -> FlowTrace {
    move |number| FlowTrace { events: (0..count).map(&event).collect(), ..trace(number) }
}

#[tokio::test]
async fn many_small_events_use_the_reported_memory() {
    check("small events", 50, traces_of(400, event)).await;
    check("few small events", 2_000, traces_of(3, event)).await;
}

#[tokio::test]
async fn large_payloads_use_the_reported_memory() {
    let large = |number| {
        let mut event = event(number);
        let message = MessageSnapshot {
            message_type: "Bytes".into(),
            serialized_data: vec![7; 10_000 + number],
            ..Default::default()
        };
        event.data.message = Some(message);
        event.data.state_diff =
            Some(StateDiff { before: Some(vec![1; 3_000]), after: vec![2; 5_000], ..Default::default() });
        event.event_type = TraceEventType::DataFlow { to_actor: "sink".repeat(50), to_port: "in".into() };
        event.causality.dependency_chain = vec![EventId::new(); 20];
        event
    };
    check("large payloads", 10, traces_of(50, large)).await;
}

#[tokio::test]
async fn attributes_use_the_reported_memory() {
    let few = |number| {
        let mut event = event(number);
        let attributes = [("attempt", json!(3)), ("queue", json!("orders")), ("price", json!(12.5))];
        event.data.custom_attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
        event
    };
    check("few attributes", 20, traces_of(100, few)).await;
    let nested = |number| {
        let mut event = event(number);
        let item = |n: usize| json!({"sku": format!("sku-{n}"), "tags": ["a", "b", {"deep": [n, null, true]}]});
        let order = json!({"items": (0..5).map(item).collect::<Vec<_>>(), "customer": {"name": "Ada", "id": number}});
        // As they come over the wire: parsed, entry by entry.
        let order: Value = serde_json::from_str(&order.to_string()).unwrap();
        event.data.custom_attributes.insert("order".into(), order);
        event
    };
    check("nested attributes", 10, traces_of(100, nested)).await;
}

#[tokio::test]
async fn many_attributes_use_the_reported_memory_in_any_order() {
    let entry = |n: usize| (format!("attribute-{n:03}"), json!(n));
    let with = |attributes: BTreeMap<String, Value>| {
        move |number| TraceEvent {
            data: TraceEventData { custom_attributes: attributes.clone(), ..Default::default() },
            ..event(number)
        }
    };
    check("attributes at once", 10, traces_of(50, with((0..60).map(entry).collect()))).await;
    let mut one_by_one = BTreeMap::new();
    (0..60).for_each(|n| drop(one_by_one.insert(entry(n * 37 % 60).0, json!(n))));
    check("attributes one by one", 10, traces_of(50, with(one_by_one))).await;
    let object = Value::Object((0..500).map(entry).collect());
    check("a large object", 10, traces_of(20, with(BTreeMap::from([("object".to_owned(), object)])))).await;
}

#[tokio::test]
async fn small_traces_without_events_use_the_reported_memory() {
    check("bare traces", 20_000, trace).await;
    // Started in no order, each of a flow of its own, with tags.
    let scattered = |number| {
        let mut scattered = trace(number * 7_919 % 10_007);
        scattered.flow_id = FlowId::new(format!("a flow of its own, {number}"));
        scattered.metadata.tags.insert("team".into(), "billing".into());
        scattered.metadata.user_id = Some("somebody".into());
        scattered
    };
    check("scattered traces", 10_000, scattered).await;
}

#[tokio::test]
async fn headerless_events_with_distinct_actors_use_the_reported_memory() {
    let before = held();
    let storage = roomy();
    for number in 0..5_000 {
        let event = TraceEvent { actor_id: format!("an actor of its own, {number}"), ..event(number) };
        storage.store_event(trace(number).trace_id, event).await.unwrap();
    }
    assert_close("orphans", said(&storage).await, held() - before);
}

#[tokio::test]
async fn a_full_store_uses_no_more_memory_than_its_limit() {
    const LIMIT_MB: usize = 8;
    let before = held();
    let storage = MemoryStorage::with_config(MemoryConfig { max_memory_mb: LIMIT_MB, ..Default::default() });
    for number in 0..400 {
        storage.store_trace(traces_of(1 + number * 7 % 300, event)(number)).await.unwrap();
    }
    let held = held() - before;
    assert!(storage.stats().await.unwrap().traces < 300, "the limit was reached");
    assert_close("a full store", said(&storage).await, held);
    assert_close("a full store's limit", (LIMIT_MB * 1024 * 1024) as isize, held);
}
