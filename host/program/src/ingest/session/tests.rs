use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;

use super::*;
use crate::budget::Budget;
use crate::ingest::gated::Gated;
use crate::ingest::open_traces::GRACE;
use crate::ingest::{INTERRUPTED_TAG, UNKNOWN_FLOW};
use reflow_tracing::storage::{MemoryStorage, StorageBackend};
use reflow_tracing::{PerformanceMetrics, TraceEventData, TraceEventType, TraceQuery};

fn session() -> (Arc<MemoryStorage>, Session) {
    let storage = Arc::new(MemoryStorage::new());
    let ingest = Ingest::new(storage.clone());
    (storage, Session::new(ingest, Some(([192, 0, 2, 7], 5).into())))
}

static AN_HOUR_AGO: LazyLock<DateTime<Utc>> = LazyLock::new(|| Utc::now() - TimeDelta::hours(1));

fn event(seconds: i64) -> TraceEvent {
    let timestamp = *AN_HOUR_AGO + TimeDelta::seconds(seconds);
    let data = TraceEventData { performance_metrics: PerformanceMetrics::ZERO, ..Default::default() };
    TraceEvent { timestamp, actor_id: "a".into(), data, ..Default::default() }
}

fn flow(id: &str) -> (FlowId, FlowVersion) {
    (FlowId::new(id), FlowVersion::default())
}

async fn start(session: &mut Session, id: &str) -> TraceId {
    let (flow_id, version) = flow(id);
    session.start_trace(flow_id, version).await.unwrap()
}

#[tokio::test]
async fn events_with_random_ids_belong_to_the_current_trace_also_those_before_its_start() {
    let (storage, mut session) = session();
    session.record(TraceId::new(), event(10)).await.unwrap();
    let trace_id = start(&mut session, "f").await;
    session.record(TraceId::new(), event(20)).await.unwrap();

    let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!(trace.events.len(), 2);
    assert_eq!((trace.status, trace.end_time), (ExecutionStatus::Running, None));
    assert_eq!(trace.start_time, event(10).timestamp);
    assert_eq!(trace.metadata.session_id, Some(session.id().to_string()));
    assert_eq!(trace.metadata.hostname, "192.0.2.7");

    session.finish().await;
    let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!(trace.end_time, Some(event(20).timestamp));
    assert_eq!(trace.status, ExecutionStatus::Completed);
    assert_eq!(trace.events.len(), 2);
}

#[tokio::test]
async fn an_event_that_names_a_known_trace_goes_there() {
    let (storage, mut session) = session();
    let elsewhere = FlowTrace::new(FlowId::new("elsewhere"), FlowVersion::default());
    storage.store_trace(elsewhere.clone()).await.unwrap();
    let first = start(&mut session, "first").await;
    let second = start(&mut session, "second").await;
    for trace_id in [first, second, second, elsewhere.trace_id, elsewhere.trace_id, elsewhere.trace_id] {
        session.record(trace_id, event(1)).await.unwrap();
    }
    let count = async |trace_id| storage.get_events(trace_id).await.unwrap().len();
    assert_eq!((count(first).await, count(second).await, count(elsewhere.trace_id).await), (1, 2, 3));

    session.finish().await;
    let untouched = storage.get_trace(elsewhere.trace_id).await.unwrap().unwrap();
    assert_eq!(untouched.end_time, None, "a trace of another sender is not ended");
    for ended in [first, second] {
        assert!(storage.get_trace(ended).await.unwrap().unwrap().end_time.is_some());
    }
}

#[tokio::test]
async fn a_trace_with_a_failed_actor_fails_with_its_first_error() {
    let (storage, mut session) = session();
    let trace_id = start(&mut session, "f").await;
    let failed = |error: &str| TraceEvent {
        event_type: TraceEventType::ActorFailed,
        data: TraceEventData { error: Some(error.into()), ..event(1).data },
        ..event(1)
    };
    session.record(TraceId::new(), failed("disk")).await.unwrap();
    session.record(TraceId::new(), failed("later")).await.unwrap();
    session.finish().await;
    let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!(trace.status, ExecutionStatus::Failed { error: "disk".into() });
    assert_eq!(trace.end_time, Some(trace.start_time), "never before its start");
}

#[tokio::test]
async fn events_without_a_start_make_a_trace_of_an_unknown_flow() {
    let (storage, mut session) = session();
    let failed = TraceEvent { event_type: TraceEventType::ActorFailed, ..event(5) };
    session.record(TraceId::new(), failed).await.unwrap();
    session.finish().await;
    let traces = storage.query_traces(TraceQuery::default()).await.unwrap();
    let [trace] = &traces[..] else { panic!("{traces:?}") };
    assert_eq!(trace.flow_id.as_str(), UNKNOWN_FLOW);
    assert_eq!(trace.status, ExecutionStatus::Failed { error: "actor a failed".into() });
}

#[tokio::test]
async fn a_session_without_events_leaves_nothing() {
    let (storage, mut session) = session();
    let bad = TraceEvent { actor_id: "x".repeat(reflow_tracing::MAX_NAME_BYTES + 1), ..event(1) };
    session.record(TraceId::new(), bad).await.unwrap_err();
    session.finish().await;
    assert_eq!(storage.stats().await.unwrap().traces, 0);
}

#[tokio::test]
async fn a_store_that_is_away_for_a_moment_gets_the_start_and_the_end_of_a_trace() {
    let storage = Gated::new(Semaphore::MAX_PERMITS);
    let mut session = Session::new(Ingest::new(storage.clone()), None);
    storage.headers_to_refuse.store(1, Ordering::Relaxed);
    let (flow_id, version) = flow("f");
    session.start_trace(flow_id, version).await.unwrap_err();
    session.record(TraceId::new(), event(1)).await.unwrap();
    storage.headers_to_refuse.store(2, Ordering::Relaxed);
    session.finish().await;
    let traces = storage.query_traces(TraceQuery::default()).await.unwrap();
    let [trace] = &traces[..] else { panic!("{traces:?}") };
    assert_eq!((trace.flow_id.as_str(), trace.events.len()), ("f", 1));
    assert_eq!(trace.status, ExecutionStatus::Completed);
}

#[tokio::test]
async fn a_start_that_is_refused_leaves_the_events_a_trace() {
    let (storage, mut session) = session();
    session.record(TraceId::new(), event(1)).await.unwrap();
    let (_, version) = flow("");
    let too_long = FlowId::new("x".repeat(reflow_tracing::MAX_NAME_BYTES + 1));
    session.start_trace(too_long, version).await.unwrap_err();
    let trace_id = start(&mut session, "f").await;
    assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().events.len(), 1);
}

#[tokio::test]
async fn a_trace_that_its_sender_ended_is_left_as_it_is() {
    let (storage, mut session) = session();
    let trace_id = start(&mut session, "f").await;
    let mut trace = storage.get_trace(trace_id).await.unwrap().unwrap();
    trace.status = ExecutionStatus::Cancelled;
    trace.end_time = Some(Utc::now());
    session.store_trace(trace.clone()).await.unwrap();
    session.finish().await;
    assert_eq!(storage.get_trace(trace_id).await.unwrap(), Some(trace));
}

fn newer(seconds: i64) -> TraceEvent {
    TraceEvent { data: TraceEventData::default(), ..event(seconds) }
}

#[tokio::test(start_paused = true)]
async fn a_trace_whose_connection_is_lost_is_cancelled_after_a_while() {
    let (storage, mut session) = session();
    let trace_id = TraceId::new();
    let (flow_id, version) = flow("f");
    session.start_trace_as(trace_id, flow_id, version).await.unwrap();
    session.record(trace_id, newer(5)).await.unwrap();
    session.finish().await;
    tokio::time::sleep(GRACE / 2).await;
    assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().status, ExecutionStatus::Running);
    tokio::time::sleep(GRACE).await;
    let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!(trace.status, ExecutionStatus::Cancelled);
    assert!(trace.end_time.unwrap() >= trace.start_time);
    assert!(trace.metadata.tags.contains_key(INTERRUPTED_TAG));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_goes_on_with_its_trace() {
    let (storage, mut first) = session();
    let trace_id = TraceId::new();
    let (flow_id, version) = flow("f");
    first.start_trace_as(trace_id, flow_id.clone(), version.clone()).await.unwrap();
    let ingest = first.ingest.clone();
    first.finish().await;
    // In time.
    tokio::time::sleep(GRACE / 2).await;
    let mut second = Session::new(ingest.clone(), None);
    second.record(trace_id, newer(5)).await.unwrap();
    tokio::time::sleep(GRACE * 2).await;
    assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().status, ExecutionStatus::Running);
    second.finish().await;
    // Too late.
    tokio::time::sleep(GRACE * 2).await;
    assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().status, ExecutionStatus::Cancelled);
    let mut third = Session::new(ingest, None);
    third.start_trace_as(trace_id, flow_id, version).await.unwrap();
    let resumed = storage.get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!((resumed.status, resumed.end_time), (ExecutionStatus::Running, None));
    third.end_trace(trace_id, ExecutionStatus::Completed).await.unwrap();
    let ended = storage.get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.events.len()), (ExecutionStatus::Completed, 1));
    assert!(ended.metadata.tags.is_empty());
}

#[tokio::test]
async fn a_connection_that_started_a_trace_without_an_id_has_random_ids_whatever_its_events_say() {
    let (storage, mut session) = session();
    let trace_id = start(&mut session, "f").await;
    session.record(TraceId::new(), newer(1)).await.unwrap();
    session.record(TraceId::new(), newer(2)).await.unwrap();
    session.finish().await;
    assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().events.len(), 2);
    assert_eq!(storage.stats().await.unwrap().traces, 1);
}

#[tokio::test]
async fn a_role_without_a_right_on_leases_stores_traces_all_the_same() {
    let storage = Gated::new(Semaphore::MAX_PERMITS);
    storage.refuses_leases.store(true, Ordering::Relaxed);
    let mut session = Session::new(Ingest::new(storage.clone()), None);
    let trace_id = TraceId::new();
    session.record(trace_id, newer(1)).await.unwrap();
    session.end_trace(trace_id, ExecutionStatus::Completed).await.unwrap();
    let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!((trace.status, trace.events.len()), (ExecutionStatus::Completed, 1));
}

#[tokio::test]
async fn an_unknown_id_that_comes_twice_in_a_row_is_believed() {
    let (storage, mut session) = session();
    let trace_id = TraceId::new();
    let received = [event(1), event(2)].map(|event| Received::new(trace_id, event));
    let chunk = session.chunk(received.into()).await.unwrap();
    session.submit(chunk).await.unwrap().answer().await.unwrap();
    assert_eq!(storage.get_events(trace_id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_connection_with_too_many_open_traces_closes_those_it_has_not_sent_lately() {
    let (storage, mut session) = session();
    let budget = Budget::new(256 << 20);
    session = session.within(budget.account().unwrap());
    let first = start(&mut session, "f").await;
    session.record(first, event(1)).await.unwrap();
    let second = start(&mut session, "f").await;
    for _ in 2..MAX_OPEN {
        start(&mut session, "f").await;
    }
    let held = budget.held();
    // It is sent again, so another one is closed.
    session.record(first, event(2)).await.unwrap();
    start(&mut session, "f").await;
    assert!(session.open.len() <= MAX_OPEN + 1 - CLOSED_AT_ONCE);
    assert!(budget.held() < held, "what is closed takes no memory");
    let status = async |trace_id| storage.get_headers(vec![trace_id]).await.unwrap().remove(0).map(|it| it.status);
    assert_eq!(status(first).await, Some(ExecutionStatus::Running));
    assert_eq!(status(second).await, Some(ExecutionStatus::Completed));
}

#[tokio::test]
async fn open_traces_that_find_no_room_are_refused() {
    let (_, session) = session();
    let budget = Budget::new(40 << 10);
    let mut session = session.within(budget.account().unwrap());
    let trace_id = TraceId::new();
    let _all: Vec<_> = std::iter::from_fn(|| session.account.as_ref()?.try_take(1 << 10)).collect();
    let (flow_id, version) = flow("f");
    let error = session.start_trace_as(trace_id, flow_id, version).await.unwrap_err();
    assert!(matches!(&error, StorageError::Unavailable(why) if why.contains("max_buffered_mb")), "{error}");
}

#[tokio::test]
async fn a_header_that_is_too_long_is_refused() {
    let (storage, mut session) = session();
    let long = "x".repeat(MAX_HEADER_BYTES as usize);
    let version = FlowVersion { git_hash: Some(long.clone()), ..FlowVersion::default() };
    let mut trace = FlowTrace::new(FlowId::new("f"), FlowVersion::default());
    trace.metadata.tags.insert("tag".into(), long.clone());
    let status = ExecutionStatus::Failed { error: long };
    for error in [
        session.start_trace(FlowId::new("f"), version.clone()).await.unwrap_err(),
        session.start_trace_as(TraceId::new(), FlowId::new("f"), version).await.unwrap_err(),
        session.end_trace(TraceId::new(), status).await.unwrap_err(),
        session.store_trace(trace).await.unwrap_err(),
    ] {
        assert!(matches!(&error, StorageError::InvalidArgument(why) if why.contains("256 KiB")), "{error}");
    }
    session.finish().await;
    assert_eq!(storage.stats().await.unwrap().traces, 0);
}

#[tokio::test]
async fn a_long_failure_is_shortened_in_the_header() {
    let (storage, mut session) = session();
    let trace_id = start(&mut session, "f").await;
    let error = "ä".repeat(100_000);
    let data = TraceEventData { error: Some(error.clone()), ..event(1).data };
    let failed = TraceEvent { event_type: TraceEventType::ActorFailed, data, ..event(1) };
    session.record(TraceId::new(), failed).await.unwrap();
    session.finish().await;
    let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
    let shown = trace.status.error().unwrap();
    assert!(shown.starts_with('ä') && shown.len() < 10_000, "{} bytes", shown.len());
    assert_eq!(trace.events[0].data.error, Some(error));
}
