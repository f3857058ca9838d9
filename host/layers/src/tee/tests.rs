use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use reflow_tracing_conformance::faults::Faulty;
use reflow_tracing_memory::MemoryStorage;
use reflow_tracing_model::{ExecutionStatus, FlowId, FlowTrace, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_sqlite::SqliteStorage;
use reflow_tracing_storage::layer::{Purpose, StoreEvents};
use reflow_tracing_storage::{AlsoMetrics, StorageBackend, StorageBackendExt, StorageError};
use tempfile::TempDir;
use uuid::Uuid;

use super::{MAX_REFUSED, Tee, waiting};
use crate::spool::SpoolConfig;

/// A store, an archive that can be away or slow and that rejects events of the actor `refused`, and the folder of its queue.
struct Fixture {
    folder: TempDir,
    store: Arc<MemoryStorage>,
    archive: Arc<Faulty<MemoryStorage>>,
    away: Arc<AtomicBool>,
    pause_ms: Arc<AtomicU64>,
}

impl Fixture {
    fn new() -> Self {
        let (away, pause_ms) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (is_away, pause) = (Arc::clone(&away), Arc::clone(&pause_ms));
        let archive = Faulty::around(MemoryStorage::new()).before(move |attempt| {
            let refuses = attempt
                .operation::<StoreEvents>()
                .is_some_and(|StoreEvents(events)| events.iter().any(|(_, event)| event.actor_id == "refused"));
            let answer = match (is_away.load(SeqCst), refuses) {
                (true, _) => Err(StorageError::Unavailable("asked to be away".into())),
                (false, true) => Err(StorageError::InvalidArgument("not this one".into())),
                (false, false) => Ok(()),
            };
            let pause = if attempt.call.purpose() == Purpose::Write { pause.load(SeqCst) } else { 0 };
            async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                answer
            }
        });
        let folder = tempfile::tempdir().unwrap();
        Self { folder, store: Arc::new(MemoryStorage::new()), archive: Arc::new(archive), away, pause_ms }
    }

    async fn open(&self) -> Tee {
        let archive: Arc<dyn StorageBackend> = self.archive.clone();
        let queues = SpoolConfig { max_size_mb: 1, ..SpoolConfig::new(self.folder.path()) };
        Tee::open(self.store.clone(), vec![("archive".into(), archive)], &queues).await.unwrap()
    }
}

fn event_of(actor: &str) -> TraceEvent {
    TraceEvent { actor_id: actor.into(), ..TraceEvent::default() }
}

async fn metrics(tee: &Tee) -> AlsoMetrics {
    tee.get_metrics().await.unwrap().also.remove(0)
}

async fn until_delivered(tee: &Tee) {
    for _ in 0..3_000 {
        if metrics(tee).await.queue.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not deliver: {:?}", metrics(tee).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_write_reaches_the_other_backend() {
    let fixture = Fixture::new();
    let tee = fixture.open().await;
    let traces: Vec<FlowTrace> =
        (0..2).map(|_| FlowTrace { events: vec![event_of("in the trace")], ..FlowTrace::default() }).collect();
    tee.store_trace(traces[0].clone()).await.unwrap();
    tee.store_traces(traces[1..].to_vec()).await.unwrap();
    tee.store_event(traces[0].trace_id, event_of("alone")).await.unwrap();
    tee.store_events(vec![(traces[1].trace_id, event_of("a")), (traces[1].trace_id, event_of("b"))]).await.unwrap();
    until_delivered(&tee).await;
    for trace in &traces {
        let [stored, archived] = [
            fixture.store.get_trace(trace.trace_id).await.unwrap().unwrap(),
            fixture.archive.inner().get_trace(trace.trace_id).await.unwrap().unwrap(),
        ];
        assert_eq!(stored, archived);
    }
    let found = metrics(&tee).await;
    assert_eq!((found.delivered_events, found.delivered_traces, found.dropped_events), (5, 2, 0), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_the_store_keeps_is_not_replaced_in_the_other_backend() {
    let fixture = Fixture::new();
    let file = fixture.folder.path().join("store.db");
    let store = Arc::new(SqliteStorage::new(file.to_str().unwrap()).await.unwrap());
    let archive: Arc<dyn StorageBackend> = fixture.archive.clone();
    let queues = SpoolConfig::new(fixture.folder.path());
    let tee = Tee::open(store.clone(), vec![("archive".into(), archive)], &queues).await.unwrap();
    let kept = FlowTrace { flow_id: FlowId::new("kept"), ..FlowTrace::default() };
    store.store_trace(kept.clone()).await.unwrap();
    let host = Uuid::new_v4();
    tee.renew_lease(host, Duration::from_secs(60)).await.unwrap();
    let provisional = FlowTrace { flow_id: FlowId::new("provisional"), ..kept.clone() };
    tee.begin_traces(host, vec![provisional]).await.unwrap();
    until_delivered(&tee).await;
    assert_eq!(fixture.archive.inner().get_trace(kept.trace_id).await.unwrap(), Some(kept.clone()));
    let cancelled = FlowTrace { status: ExecutionStatus::Cancelled, end_time: Some(kept.start_time), ..kept.clone() };
    tee.leave_traces(host, vec![cancelled.clone()]).await.unwrap();
    until_delivered(&tee).await;
    assert_eq!(fixture.archive.inner().get_trace(kept.trace_id).await.unwrap(), Some(cancelled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_away_gets_everything_when_it_is_back_also_after_a_restart() {
    let fixture = Fixture::new();
    let trace_id = TraceId::new();
    fixture.away.store(true, SeqCst);
    {
        let tee = fixture.open().await;
        for number in 0..100 {
            tee.store_event(trace_id, event_of(&number.to_string())).await.unwrap();
        }
        // Queries go to the store.
        assert_eq!(tee.get_events(trace_id).await.unwrap().len(), 100);
        tee.health_check().await.unwrap();
        for _ in 0..500 {
            if metrics(&tee).await.failed_deliveries > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let found = metrics(&tee).await;
        assert!(found.queue.pending_events == 100 && found.failed_deliveries > 0, "{found:?}");
        let warnings = tee.warnings();
        assert!(warnings.iter().any(|text| text.contains("`archive`") && text.contains("100 events")), "{warnings:?}");
        let seen = waiting(fixture.folder.path(), "archive").await.unwrap().unwrap();
        assert_eq!((seen.pending_events, seen.pending_traces, seen.refused), (100, 0, 0), "a host uses the queue");
        tee.close().await.unwrap();
    }
    assert_eq!(waiting(fixture.folder.path(), "another").await.unwrap(), None);
    let tee = fixture.open().await;
    assert_eq!(metrics(&tee).await.queue.pending_events, 100);
    fixture.away.store(false, SeqCst);
    until_delivered(&tee).await;
    assert_eq!(fixture.archive.inner().get_events(trace_id).await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_backend_does_not_slow_the_store() {
    let fixture = Fixture::new();
    fixture.pause_ms.store(2_000, SeqCst);
    let tee = fixture.open().await;
    let start = Instant::now();
    for number in 0..20 {
        tee.store_event(TraceId::new(), event_of(&number.to_string())).await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_millis(1_900), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_drops_later_writes_counts_them_and_takes_writes_again_when_it_is_empty() {
    let fixture = Fixture::new();
    let tee = fixture.open().await;
    fixture.away.store(true, SeqCst);
    let trace_id = TraceId::new();
    let large = "x".repeat(100 * 1024);
    for number in 0..20 {
        let mut event = event_of(&format!("{number:02}"));
        event.data.custom_attributes.insert("large".into(), large.clone().into());
        tee.store_event(trace_id, event).await.unwrap();
    }
    let found = metrics(&tee).await;
    assert!(found.dropped_events > 5 && found.queue.pending_events + found.dropped_events == 20, "{found:?}");
    assert!(found.queue.bytes <= 1 << 20 && found.drop_reason.unwrap().contains("maximum of 1 MiB"));
    assert!(tee.warnings().iter().any(|text| text.contains("migrate")), "{:?}", tee.warnings());
    assert_eq!(fixture.store.get_events(trace_id).await.unwrap().len(), 20, "the store has everything");

    fixture.away.store(false, SeqCst);
    until_delivered(&tee).await;
    tee.store_event(trace_id, event_of("afterwards")).await.unwrap();
    until_delivered(&tee).await;
    let archived = fixture.archive.inner().get_events(trace_id).await.unwrap();
    assert_eq!(archived.len() as u64, 21 - found.dropped_events);
    // The first ones, without a hole.
    for number in 0..archived.len() - 1 {
        assert!(archived.iter().any(|event| event.actor_id.starts_with(&format!("{number:02}"))), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_are_rejected_do_not_stop_the_others_and_are_kept_up_to_a_maximum() {
    let fixture = Fixture::new();
    let tee = fixture.open().await;
    let trace_id = TraceId::new();
    let rejected = MAX_REFUSED + 7;
    tee.store_events((0..rejected).map(|_| (trace_id, event_of("refused"))).collect()).await.unwrap();
    tee.store_event(trace_id, event_of("accepted")).await.unwrap();
    until_delivered(&tee).await;
    assert_eq!(fixture.archive.inner().get_events(trace_id).await.unwrap().len(), 1);
    assert_eq!(metrics(&tee).await.queue.refused, rejected);
    let file = rusqlite::Connection::open(fixture.folder.path().join("archive/spool.db")).unwrap();
    let kept: u64 = file.query_row("SELECT count(*) FROM refused", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, MAX_REFUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_not_given_to_the_other_backend() {
    let fixture = Fixture::new();
    let refusing = Faulty::around(MemoryStorage::new()).before(|attempt| {
        let is_write = attempt.call.purpose() == Purpose::Write;
        ready(if is_write { Err(StorageError::Exhausted("full".into())) } else { Ok(()) })
    });
    let archive: Arc<dyn StorageBackend> = fixture.archive.clone();
    let queues = SpoolConfig::new(fixture.folder.path());
    let tee = Tee::open(Arc::new(refusing), vec![("archive".into(), archive)], &queues).await.unwrap();
    tee.store_trace(FlowTrace::default()).await.unwrap_err();
    tee.store_event(TraceId::new(), event_of("a")).await.unwrap_err();
    let found = metrics(&tee).await;
    assert!(found.queue.is_empty() && found.delivered_events == 0, "{found:?}");
    assert!(fixture.archive.inner().query_traces(TraceQuery::default()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_not_forwarded() {
    let fixture = Fixture::new();
    let tee = fixture.open().await;
    let trace = FlowTrace::default();
    tee.store_trace(trace.clone()).await.unwrap();
    until_delivered(&tee).await;
    tee.delete_trace(trace.trace_id).await.unwrap();
    assert!(fixture.archive.inner().get_trace(trace.trace_id).await.unwrap().is_some());
}
