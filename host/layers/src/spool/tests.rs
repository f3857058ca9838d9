use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use reflow_tracing_conformance::faults::{Attempt, Faulty};
use reflow_tracing_memory::MemoryStorage;
use reflow_tracing_model::{FlowId, FlowTrace, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_storage::layer::{Purpose, StoreEvents, StoreTraces};
use reflow_tracing_storage::{SpoolMetrics, StorageBackend, StorageBackendExt, StorageError};
use tempfile::TempDir;

use super::{Spool, SpoolConfig};

/// Memory that can be unavailable, and that rejects events of the actor `refused`.
type Remote = Arc<Faulty<MemoryStorage>>;

#[derive(Default)]
struct State {
    away: AtomicBool,
    /// The number of writes that fail before one succeeds.
    failures: AtomicUsize,
    /// The sizes of the batches of events that were stored.
    batches: Mutex<Vec<usize>>,
    /// The flows of the headers that were stored, in their order.
    headers: Mutex<Vec<String>>,
}

impl State {
    fn answer(&self, attempt: &Attempt<'_>) -> Result<(), StorageError> {
        if self.away.load(SeqCst) {
            return Err(StorageError::Unavailable("asked to be away".into()));
        }
        if attempt.call.purpose() == Purpose::Write
            && self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            return Err(StorageError::Unavailable("asked to fail".into()));
        }
        if let Some(StoreTraces(traces)) = attempt.operation() {
            self.headers.lock().unwrap().extend(traces.iter().map(|trace| trace.flow_id.0.clone()));
        }
        if let Some(StoreEvents(events)) = attempt.operation() {
            if events.iter().any(|(_, event)| event.actor_id == "refused") {
                return Err(StorageError::Other { message: "not this one".into(), retryable: false });
            }
            self.batches.lock().unwrap().push(events.len());
        }
        Ok(())
    }
}

struct Fixture {
    folder: TempDir,
    remote: Remote,
    state: Arc<State>,
}

impl Fixture {
    fn new() -> Self {
        let state = Arc::new(State::default());
        let asked = state.clone();
        let remote = Faulty::around(MemoryStorage::new()).before(move |attempt| ready(asked.answer(attempt)));
        Self { folder: tempfile::tempdir().unwrap(), remote: Arc::new(remote), state }
    }

    fn config(&self) -> SpoolConfig {
        SpoolConfig { max_size_mb: 1, ..SpoolConfig::new(self.folder.path().join("spool")) }
    }

    async fn open(&self) -> Spool<Remote> {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<Spool<Remote>, StorageError> {
        Spool::open(self.remote.clone(), "remote", &self.config()).await
    }

    fn is_away(&self, away: bool) {
        self.state.away.store(away, SeqCst);
    }

    fn file(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.config().dir.join("spool.db")).unwrap()
    }
}

fn event_of(actor: &str) -> TraceEvent {
    TraceEvent { actor_id: actor.into(), ..TraceEvent::default() }
}

async fn metrics(spool: &Spool<Remote>) -> SpoolMetrics {
    spool.get_metrics().await.unwrap().spool.unwrap()
}

async fn until_empty(spool: &Spool<Remote>) {
    for _ in 0..3_000 {
        if metrics(spool).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not drain: {:?}", metrics(spool).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_backend_is_available_nothing_is_spooled() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    spool.store_trace(FlowTrace::default()).await.unwrap();
    assert_eq!(spool.query_traces(TraceQuery::default()).await.unwrap().len(), 1);
    let rows: u32 = fixture.file().query_row("SELECT count(*) FROM sqlite_sequence", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0, "no record was ever written");
}

#[tokio::test(flavor = "multi_thread")]
async fn spooled_writes_are_stored_in_order_and_in_large_batches() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    fixture.is_away(true);
    let header = FlowTrace { flow_id: FlowId::new("before"), ..FlowTrace::default() };
    let trace_id = header.trace_id;
    spool.store_trace(header.clone()).await.unwrap();
    for number in 0..500 {
        spool.store_event(trace_id, event_of(&format!("{number}"))).await.unwrap();
    }
    let last = FlowTrace { flow_id: FlowId::new("after"), ..header };
    spool.store_trace(last.clone()).await.unwrap();
    let waiting = metrics(&spool).await;
    assert_eq!((waiting.pending_events, waiting.pending_traces), (500, 2));
    assert!(waiting.away_since.is_some() && waiting.error.unwrap().contains("asked to be away"));

    fixture.is_away(false);
    until_empty(&spool).await;
    let stored = fixture.remote.inner().get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!((stored.flow_id, stored.events.len()), (last.flow_id, 500));
    assert_eq!(fixture.state.headers.lock().unwrap().last().unwrap(), "after");
    assert!(fixture.state.batches.lock().unwrap().len() < 10, "{:?}", fixture.state.batches);
    assert_eq!(spool.get_trace(trace_id).await.unwrap().unwrap().events.len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn spooled_writes_survive_a_restart_during_an_outage() {
    let fixture = Fixture::new();
    let header = FlowTrace::default();
    {
        let spool = fixture.open().await;
        fixture.is_away(true);
        spool.store_trace(header.clone()).await.unwrap();
        spool.store_event(header.trace_id, event_of("a")).await.unwrap();
        spool.close().await.unwrap();
        spool.store_trace(FlowTrace::default()).await.unwrap_err();
    }
    let spool = fixture.open().await;
    assert_eq!(metrics(&spool).await.pending_events, 1);
    // Known from the file.
    assert_eq!(spool.get_headers(vec![header.trace_id]).await.unwrap(), [Some(header.clone())]);
    fixture.is_away(false);
    until_empty(&spool).await;
    assert_eq!(fixture.remote.inner().get_events(header.trace_id).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_earlier_writes_and_fails_after_its_time_limit() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    // The write fails, then draining fails twice.
    fixture.state.failures.store(3, SeqCst);
    let trace = FlowTrace { events: vec![event_of("a")], ..FlowTrace::default() };
    spool.store_trace(trace.clone()).await.unwrap();
    assert_eq!(spool.get_trace(trace.trace_id).await.unwrap(), Some(trace.clone()));

    fixture.is_away(true);
    spool.store_event(trace.trace_id, event_of("b")).await.unwrap();
    for answer in [
        spool.get_trace(trace.trace_id).await.map(drop),
        spool.count_traces(TraceQuery::default()).await.map(drop),
        spool.delete_trace(trace.trace_id).await.map(drop),
        spool.headerless_traces(None, 1).await.map(drop),
        spool.drop_oldest_partition(Utc::now()).await.map(drop),
        spool.health_check().await,
    ] {
        let error = answer.unwrap_err();
        assert!(matches!(error, StorageError::Pending(_)), "{error}");
        assert!(error.to_string().contains("1 events and 0 trace headers"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recently_written_headers_are_read_during_an_outage() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    let (before, meanwhile) = (FlowTrace::default(), FlowTrace::default());
    let (first, second) = (before.trace_id, meanwhile.trace_id);
    spool.store_trace(before.clone()).await.unwrap();
    fixture.is_away(true);
    spool.store_trace(meanwhile.clone()).await.unwrap();
    let found = spool.get_headers(vec![second, first]).await.unwrap();
    assert_eq!(found, [Some(meanwhile), Some(before)]);
    let error = spool.get_headers(vec![first, TraceId::new()]).await.unwrap_err();
    assert!(matches!(error, StorageError::Pending(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_and_permanently_rejected_writes_are_not_spooled() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    let too_long = event_of(&"x".repeat(reflow_tracing_model::MAX_NAME_BYTES + 1));
    for away in [false, true] {
        fixture.is_away(away);
        let error = spool.store_event(TraceId::new(), too_long.clone()).await.unwrap_err();
        assert!(matches!(error, StorageError::InvalidArgument(_)), "{error}");
    }
    fixture.is_away(false);
    until_empty(&spool).await;
    let error = spool.store_event(TraceId::new(), event_of("refused")).await.unwrap_err();
    assert!(matches!(error, StorageError::Other { retryable: false, .. }), "{error}");
    assert!(metrics(&spool).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_backend_rejects_later_is_set_aside_and_the_rest_is_stored() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    fixture.is_away(true);
    let trace_id = TraceId::new();
    for number in 0..100 {
        let actor = if number == 37 { "refused" } else { "a" };
        spool.store_event(trace_id, event_of(actor)).await.unwrap();
    }
    fixture.is_away(false);
    until_empty(&spool).await;
    assert_eq!(spool.get_events(trace_id).await.unwrap().len(), 99);
    assert_eq!(metrics(&spool).await.refused, 1);
    let kept = fixture.file().query_row("SELECT error, trace_id, json FROM refused", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    });
    let (error, of_trace, json) = kept.unwrap();
    assert_eq!((error.as_str(), of_trace), ("not this one", trace_id.to_string()));
    assert_eq!(serde_json::from_str::<TraceEvent>(&json).unwrap().actor_id, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_blocks_writers_and_loses_nothing() {
    let fixture = Fixture::new();
    let spool = Arc::new(fixture.open().await);
    fixture.is_away(true);
    let trace_id = TraceId::new();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..40 {
        let spool = spool.clone();
        writers.spawn(async move {
            // Of 64 KiB each: fewer than sixteen fill the spool, because of the overhead.
            let event = event_of(&format!("{number}"));
            let mut large = event.clone();
            large.data.error = Some("x".repeat(64 * 1024));
            spool.store_event(trace_id, large).await
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let full = metrics(&spool).await;
    assert!(full.is_full() && full.waiting_writers >= 20, "{full:?}");
    assert!(full.bytes <= full.max_bytes, "{full:?}");
    fixture.is_away(false);
    while let Some(written) = writers.join_next().await {
        written.unwrap().unwrap();
    }
    until_empty(&spool).await;
    assert_eq!(fixture.remote.inner().get_events(trace_id).await.unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_larger_than_the_spool_waits_until_it_is_empty() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    fixture.is_away(true);
    let mut large = event_of("a");
    large.data.error = Some("x".repeat(3 * 1024 * 1024));
    let trace_id = TraceId::new();
    spool.store_event(trace_id, large).await.unwrap();
    fixture.is_away(false);
    spool.store_event(trace_id, event_of("b")).await.unwrap();
    until_empty(&spool).await;
    assert_eq!(spool.get_events(trace_id).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_writer_does_not_count_as_waiting() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    fixture.is_away(true);
    let mut large = event_of("a");
    large.data.error = Some("x".repeat(1023 * 1024));
    spool.store_event(TraceId::new(), large.clone()).await.unwrap();
    let waits = spool.store_event(TraceId::new(), large);
    tokio::time::timeout(Duration::from_millis(100), waits).await.unwrap_err();
    fixture.is_away(false);
    until_empty(&spool).await;
    assert_eq!(metrics(&spool).await.waiting_writers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_on_the_same_folder_is_rejected_with_its_path() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    let error = fixture.try_open().await.err().unwrap().to_string();
    let folder = fixture.config().dir.display().to_string();
    assert!(error.contains(&folder) && error.contains("in use by another process"), "{error}");
    spool.close().await.unwrap();
    fixture.open().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spooled_writes_for_one_backend_are_not_stored_in_another() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    fixture.is_away(true);
    spool.store_trace(FlowTrace::default()).await.unwrap();
    spool.close().await.unwrap();
    let error = Spool::open(MemoryStorage::new(), "other", &fixture.config()).await.err().unwrap().to_string();
    assert!(error.contains("`remote`") && error.contains("`other`"), "{error}");
    fixture.is_away(false);
    let spool = fixture.open().await;
    until_empty(&spool).await;
    spool.close().await.unwrap();
    Spool::open(MemoryStorage::new(), "other", &fixture.config()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_an_error_that_names_the_file_and_the_record() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    fixture.is_away(true);
    for _ in 0..3 {
        spool.store_trace(FlowTrace::default()).await.unwrap();
    }
    spool.close().await.unwrap();
    fixture.file().execute("UPDATE record SET body = zeroblob(length(body)) WHERE seq = 2", []).unwrap();
    let error = fixture.try_open().await.err().unwrap();
    assert!(matches!(error, StorageError::Corrupt(_)), "{error}");
    for part in ["spool.db", "record 2", "1 records before it are sound"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    // As the message says.
    fixture.file().execute("DELETE FROM record WHERE seq = 2", []).unwrap();
    fixture.is_away(false);
    let spool = fixture.open().await;
    until_empty(&spool).await;
    assert_eq!(spool.count_traces(TraceQuery::default()).await.unwrap(), 2);
    spool.close().await.unwrap();

    let path = fixture.config().dir.join("spool.db");
    for file in ["spool.db-wal", "spool.db-shm"] {
        let _ = std::fs::remove_file(fixture.config().dir.join(file));
    }
    std::fs::write(&path, "this is not a database, and long enough not to be taken for an empty one".repeat(100))
        .unwrap();
    let error = fixture.try_open().await.err().unwrap().to_string();
    assert!(error.contains("spool.db"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_damaged_while_the_host_runs_is_set_aside() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    fixture.is_away(true);
    for _ in 0..3 {
        spool.store_trace(FlowTrace::default()).await.unwrap();
    }
    fixture.file().execute("UPDATE record SET checksum = checksum + 1 WHERE seq = 2", []).unwrap();
    fixture.is_away(false);
    until_empty(&spool).await;
    assert_eq!((spool.count_traces(TraceQuery::default()).await.unwrap(), metrics(&spool).await.refused), (2, 1));
    let kept: u32 = fixture.file().query_row("SELECT length(body) FROM refused", [], |row| row.get(0)).unwrap();
    assert!(kept > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_space_is_returned_to_the_file_system() {
    let fixture = Fixture::new();
    let spool = fixture.open().await;
    fixture.is_away(true);
    for _ in 0..10 {
        let mut large = event_of("a");
        large.data.error = Some("x".repeat(80 * 1024));
        spool.store_event(TraceId::new(), large).await.unwrap();
    }
    fixture.is_away(false);
    until_empty(&spool).await;
    spool.close().await.unwrap();
    let bytes = std::fs::metadata(fixture.config().dir.join("spool.db")).unwrap().len();
    assert!(bytes < 100 * 1024, "{bytes} bytes");
}
