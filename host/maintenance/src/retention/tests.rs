use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use reflow_tracing_memory::{MemoryConfig, MemoryStorage};
use reflow_tracing_model::{ExecutionStatus, FlowTrace, TraceEvent};
use reflow_tracing_storage::{Deletion, StorageStats};

const HOUR: u64 = 3_600;

/// A trace that ended, started so many hours ago, with an event of a kilobyte.
fn aged(hours: i64) -> FlowTrace {
    let start_time = Utc::now() - TimeDelta::hours(hours);
    let mut event = TraceEvent { timestamp: start_time, ..TraceEvent::default() };
    event.data.error = Some("x".repeat(1024));
    FlowTrace {
        start_time,
        end_time: Some(start_time),
        status: ExecutionStatus::Completed,
        events: vec![event],
        ..FlowTrace::default()
    }
}

async fn filled(traces: &[FlowTrace]) -> MemoryStorage {
    let config = MemoryConfig { max_traces: usize::MAX, ..MemoryConfig::default() };
    let storage = MemoryStorage::with_config(config);
    storage.store_traces(traces.to_vec()).await.unwrap();
    storage
}

async fn kept(storage: &dyn StorageBackend) -> Vec<TraceId> {
    let query = TraceQuery { limit: Some(TraceQuery::MAX_LIMIT), ..TraceQuery::default() };
    storage.query_traces(query).await.unwrap().iter().map(|trace| trace.trace_id).collect()
}

#[tokio::test]
async fn expired_traces_are_deleted_as_the_dry_run_reported() {
    let traces: Vec<_> = (1..=900).map(aged).collect();
    let storage = filled(&traces).await;
    let policy = RetentionPolicy { max_age: Some(Duration::from_secs(100 * HOUR)), ..RetentionPolicy::default() };
    let planned = retain(&storage, &policy, true).await.unwrap();
    assert_eq!((planned.by_age, kept(&storage).await.len()), (801, 900));
    assert_eq!(retain(&storage, &policy, false).await.unwrap(), planned);
    let young: Vec<_> = traces[..99].iter().map(|trace| trace.trace_id).collect();
    assert_eq!(kept(&storage).await, young);
    assert_eq!(retain(&storage, &policy, false).await.unwrap(), RetentionReport::default());
}

fn year(year: i32) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&format!("{year}-01-01T00:00:00Z")).unwrap().to_utc()
}

/// A trace whose own time can't be right, received so many hours ago.
fn received(year: i32, hours: i64) -> FlowTrace {
    let start_time = self::year(year);
    let mut trace = aged(hours);
    let received_at = trace.start_time.to_rfc3339();
    trace.metadata.tags.insert(reflow_tracing_model::RECEIVED_TAG.into(), received_at);
    trace.events[0].timestamp = start_time;
    FlowTrace { start_time, end_time: Some(start_time), ..trace }
}

#[tokio::test]
async fn a_trace_whose_time_can_not_be_right_is_as_old_as_its_arrival() {
    let [young, old] = [1, 200];
    let traces = [
        received(1970, young),
        received(2200, young),
        aged(50),
        received(1970, old),
        received(2200, old),
        aged(300),
        FlowTrace { status: ExecutionStatus::Running, end_time: None, ..received(2200, old) },
    ];
    let ids = |which: &[usize]| which.iter().map(|index| traces[*index].trace_id).collect::<HashSet<_>>();
    let left = async |storage: &MemoryStorage| kept(storage).await.into_iter().collect::<HashSet<_>>();

    let storage = filled(&traces).await;
    let by_age = RetentionPolicy { max_age: Some(Duration::from_secs(100 * HOUR)), ..RetentionPolicy::default() };
    assert_eq!(retain_as_planned(&storage, &by_age).await.by_age, 4);
    assert_eq!(left(&storage).await, ids(&[0, 1, 2]));

    let storage = filled(&traces).await;
    let by_count = RetentionPolicy { max_traces: Some(2), ..RetentionPolicy::default() };
    assert_eq!(retain_as_planned(&storage, &by_count).await.by_count, 5);
    assert_eq!(left(&storage).await, ids(&[0, 1]));
}

#[tokio::test]
async fn the_oldest_traces_over_the_maximum_number_are_deleted() {
    let traces: Vec<_> = (1..=700).map(aged).collect();
    let storage = filled(&traces).await;
    let policy = RetentionPolicy { max_traces: Some(250), ..RetentionPolicy::default() };
    assert_eq!(retain(&storage, &policy, true).await.unwrap().by_count, 450);
    assert_eq!(retain(&storage, &policy, false).await.unwrap().by_count, 450);
    let newest: Vec<_> = traces[..250].iter().map(|trace| trace.trace_id).collect();
    assert_eq!(kept(&storage).await, newest);
}

#[tokio::test]
async fn the_oldest_traces_are_deleted_until_the_store_is_small_enough() {
    let storage = filled(&(1..=3_000).map(aged).collect::<Vec<_>>()).await;
    let before = storage.stats().await.unwrap().bytes.unwrap();
    let policy = RetentionPolicy { max_bytes: Some(before / 2), ..RetentionPolicy::default() };
    let planned = retain(&storage, &policy, true).await.unwrap().by_size;
    let deleted = retain(&storage, &policy, false).await.unwrap().by_size;
    assert_eq!(planned, deleted);
    let after = storage.stats().await.unwrap().bytes.unwrap();
    assert!(after <= before / 2 && after > before / 5 * 2, "{before} bytes, then {after}");
}

/// Deletes what the policy does not keep, after a dry run that must report the same. The report.
async fn retain_as_planned(storage: &dyn StorageBackend, policy: &RetentionPolicy) -> RetentionReport {
    let before = kept(storage).await;
    let planned = retain(storage, policy, true).await.unwrap();
    assert_eq!(kept(storage).await, before, "a dry run deletes nothing");
    let report = retain(storage, policy, false).await.unwrap();
    assert_eq!(report, planned, "{policy:?}");
    assert_eq!(kept(storage).await.len() as u64, before.len() as u64 - report.deleted());
    report
}

/// Stores 150 traces of about 20 kB, and deletes ten for size. Returns the report, the maximum size and the size after it.
async fn ten_of_150(storage: &dyn StorageBackend) -> (RetentionReport, u64, u64) {
    let traces = (1..=150).map(|hours| {
        let mut trace = aged(hours);
        trace.events[0].data.error = Some("x".repeat(20_000));
        trace
    });
    storage.store_traces(traces.collect()).await.unwrap();
    let before = size(storage).await.unwrap();
    let policy = RetentionPolicy { max_bytes: Some(before / 150 * 140), ..RetentionPolicy::default() };
    let report = retain_as_planned(storage, &policy).await;
    (report, policy.max_bytes.unwrap(), size(storage).await.unwrap())
}

#[tokio::test]
async fn deletion_for_size_stops_at_the_maximum_size() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = reflow_tracing_sqlite::SqliteStorage::new(folder.path().join("traces.db")).await.unwrap();
    let memory = filled(&[]).await;
    let stores: [&dyn StorageBackend; 2] = [&memory, &sqlite];
    for storage in stores {
        let (report, max, after) = ten_of_150(storage).await;
        assert!((10..=11).contains(&report.by_size) && after <= max, "{report:?}: {after} bytes of {max}");
    }
}

#[tokio::test]
async fn deleting_one_large_trace_for_size_keeps_the_small_ones() {
    let mut traces: Vec<_> = (1..=1_000).map(aged).collect();
    traces[999].events[0].data.error = Some("x".repeat(2_000_000));
    let storage = filled(&traces).await;
    let policy =
        RetentionPolicy { max_bytes: Some(size(&storage).await.unwrap() - 1_000_000), ..RetentionPolicy::default() };
    assert_eq!(retain_as_planned(&storage, &policy).await.by_size, 1);
}

/// What a trace of the random tests is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Ended,
    /// It had an event five minutes ago, and perhaps one that says 2100.
    BeingWritten {
        and_later: bool,
    },
    /// Its last event came 90 minutes ago, and perhaps one that says 2100.
    Abandoned {
        and_later: bool,
    },
    /// It starts in this year, and was received when a trace in its place would have started.
    Received(i32),
    /// It starts in 2200, and nobody knows when it was received.
    Future,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        10 => Just(Kind::Ended),
        2 => any::<bool>().prop_map(|and_later| Kind::BeingWritten { and_later }),
        2 => any::<bool>().prop_map(|and_later| Kind::Abandoned { and_later }),
        1 => prop_oneof![Just(1970), Just(2200)].prop_map(Kind::Received),
        1 => Just(Kind::Future),
    ]
}

fn of_kind(kind: Kind, hours: i64) -> FlowTrace {
    let open = |last_event, and_later| {
        let mut trace = running(hours, last_event);
        if and_later {
            trace.events.push(TraceEvent { timestamp: year(2100), ..TraceEvent::default() });
        }
        trace
    };
    match kind {
        Kind::Ended => aged(hours),
        Kind::BeingWritten { and_later } => open(5, and_later),
        Kind::Abandoned { and_later } => open(90, and_later),
        Kind::Received(year) => received(year, hours),
        Kind::Future => FlowTrace {
            start_time: year(2200),
            end_time: None,
            status: ExecutionStatus::Running,
            ..received(2200, hours)
        },
    }
}

/// Traces of every kind and of different sizes, an hour apart, the newest first.
fn traces() -> impl Strategy<Value = Vec<FlowTrace>> {
    let trace = (1..8usize, kinds());
    prop::collection::vec(trace, 1..300).prop_map(|traces| {
        // The first is clearly older than an event that came 90 minutes ago.
        let numbered = traces.into_iter().zip(2..);
        numbered
            .map(|((kilobytes, kind), hours)| {
                let mut trace = of_kind(kind, hours);
                if let Kind::Future = kind {
                    trace.metadata.tags.clear();
                }
                trace.events[0].data.error = Some("x".repeat(1024 * kilobytes));
                trace
            })
            .collect()
    })
}

/// Bounds as shares of the age, the number of traces and the size of the store.
fn bounds() -> impl Strategy<Value = [Option<f64>; 3]> {
    let share = || prop::option::of(0.0..1.2);
    [share(), share(), share()]
}

fn policy(traces: usize, bytes: u64, [age, count, size]: [Option<f64>; 3]) -> RetentionPolicy {
    // Half an hour from the start of any trace.
    let hours = |share: f64| (share * traces as f64).floor() + 0.5;
    RetentionPolicy {
        max_age: age.map(|share| Duration::from_secs((hours(share) * HOUR as f64) as u64)),
        max_traces: count.map(|share| (share * traces as f64) as u64),
        max_bytes: size.map(|share| (share * bytes as f64) as u64),
    }
}

/// Checks that a run does what the dry run before it reported: exactly, except for sizes, which a dry run estimates.
async fn assert_planned(storage: &dyn StorageBackend, traces: Vec<FlowTrace>, bounds: [Option<f64>; 3]) {
    let count = traces.len();
    storage.store_traces(traces).await.unwrap();
    // Events without a header are not a trace yet.
    for _ in 0..3 {
        storage.store_event(TraceId::new(), TraceEvent::default()).await.unwrap();
    }
    let bytes = size(storage).await.unwrap();
    let policy = policy(count, bytes, bounds);
    let planned = retain(storage, &policy, true).await.unwrap();
    assert_eq!(kept(storage).await.len(), count, "a dry run deletes nothing");
    let report = retain(storage, &policy, false).await.unwrap();
    assert_eq!((report.by_age, report.by_count), (planned.by_age, planned.by_count), "{policy:?}");
    if policy.max_bytes.is_none() {
        assert_eq!(report, planned, "{policy:?}");
    }
    let tolerated = count as u64 / 20 + 2;
    assert!(report.by_size.abs_diff(planned.by_size) <= tolerated, "{policy:?}: {planned:?}, then {report:?}");
    assert!(report.being_written.abs_diff(planned.being_written) <= tolerated, "{planned:?}, then {report:?}");
    let left = kept(storage).await.len() as u64;
    assert_eq!(left, count as u64 - report.deleted());
    // Traces over a bound that were not deleted are being written.
    if let Some(max) = policy.max_traces {
        assert!(left <= max.max(report.being_written), "{policy:?}: {left} are left of {report:?}");
    }
    if let Some(max) = policy.max_bytes {
        assert!(size(storage).await.unwrap() <= max || left == report.being_written, "{policy:?}: {report:?}");
    }
}

/// How many times as much the random tests do: `REFLOW_SOAK`, which `cargo xtask soak` sets, or once.
fn soak() -> u32 {
    std::env::var("REFLOW_SOAK").map_or(1, |times| times.parse().expect("REFLOW_SOAK is a number"))
}

#[test]
fn a_dry_run_says_what_a_run_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let check = |(traces, bounds)| {
        runtime.block_on(async { assert_planned(&filled(&[]).await, traces, bounds).await });
        Ok(())
    };
    TestRunner::new(Config::with_cases(30 * soak())).run(&(traces(), bounds()), check).unwrap();
}

#[test]
fn a_dry_run_says_what_a_run_does_in_sqlite() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let check = |(traces, bounds)| {
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let storage = reflow_tracing_sqlite::SqliteStorage::new(folder.path().join("traces.db")).await.unwrap();
            assert_planned(&storage, traces, bounds).await;
        });
        Ok(())
    };
    TestRunner::new(Config::with_cases(10 * soak())).run(&(traces(), bounds()), check).unwrap();
}

/// A trace without an end, started so many hours ago, whose one event came so many minutes ago.
fn running(hours: i64, last_event: i64) -> FlowTrace {
    let mut trace = aged(hours);
    (trace.end_time, trace.status) = (None, ExecutionStatus::Running);
    trace.events[0].timestamp = Utc::now() - TimeDelta::minutes(last_event);
    trace
}

#[tokio::test]
async fn every_bound_keeps_traces_that_are_being_written() {
    let by_age = RetentionPolicy { max_age: Some(Duration::from_secs(HOUR)), ..RetentionPolicy::default() };
    let by_count = RetentionPolicy { max_traces: Some(0), ..RetentionPolicy::default() };
    let by_size = RetentionPolicy { max_bytes: Some(0), ..RetentionPolicy::default() };
    for policy in [by_age, by_count, by_size] {
        let active = running(500, 5);
        let storage = filled(&[active.clone(), running(400, 90), aged(300)]).await;
        let report = retain_as_planned(&storage, &policy).await;
        assert_eq!((report.deleted(), report.being_written), (2, 1), "{policy:?}");
        assert_eq!(retain(&storage, &by_count, false).await.unwrap().being_written, 1, "{policy:?}");
        assert_eq!(kept(&storage).await, [active.trace_id], "{policy:?}");
    }
}

#[tokio::test]
async fn a_trace_that_is_being_written_is_kept_although_an_event_comes_from_the_future() {
    let by_age = RetentionPolicy { max_age: Some(Duration::from_secs(HOUR)), ..RetentionPolicy::default() };
    let kinds = [Kind::BeingWritten { and_later: true }, Kind::Abandoned { and_later: true }];
    let [active, abandoned] = kinds.map(|kind| of_kind(kind, 500));
    let storage = filled(&[active.clone(), abandoned]).await;
    let report = retain_as_planned(&storage, &by_age).await;
    assert_eq!((report.deleted(), report.being_written), (1, 1));
    assert_eq!(kept(&storage).await, [active.trace_id]);
}

/// Memory that reports this size. With size 0, it does not support deletion.
struct Told {
    storage: MemoryStorage,
    size: Option<u64>,
}

#[async_trait]
impl StorageBackend for Told {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.storage.store_trace(trace).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.storage.get_trace(trace_id).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.storage.query_traces(query).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.storage.store_event(trace_id, event).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.storage.get_events(trace_id).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        match self.size {
            Some(0) => Err(StorageError::Unsupported("no deletion".into())),
            _ => self.storage.delete(deletion).await,
        }
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        Ok(StorageStats { bytes: self.size, ..StorageStats::default() })
    }
}

#[tokio::test]
async fn a_store_that_never_gets_smaller_is_not_emptied() {
    let traces: Vec<_> = (1..=3_000).map(aged).collect();
    let storage = Told { storage: filled(&traces).await, size: Some(1 << 30) };
    let policy = RetentionPolicy { max_bytes: Some(1 << 20), ..RetentionPolicy::default() };
    let error = retain(&storage, &policy, false).await.unwrap_err();
    assert!(error.to_string().contains("did not get smaller"), "{error}");
    assert_eq!(kept(&storage).await.len(), 3_000 - BATCH as usize * BATCHES_WITHOUT_PROGRESS as usize);
}

#[tokio::test]
async fn an_unsupported_policy_is_rejected_before_anything_is_deleted() {
    let by_size = RetentionPolicy { max_bytes: Some(1), ..RetentionPolicy::default() };
    let untold = Told { storage: MemoryStorage::new(), size: None };
    let error = check(&untold, &by_size).await.unwrap_err();
    assert!(error.to_string().contains("does not report its size"), "{error}");
    let keeps_all = Told { storage: MemoryStorage::new(), size: Some(0) };
    let by_count = RetentionPolicy { max_traces: Some(1), ..RetentionPolicy::default() };
    assert!(matches!(check(&keeps_all, &by_count).await, Err(StorageError::Unsupported(_))));
    check(&keeps_all, &RetentionPolicy::default()).await.unwrap();
    check(&MemoryStorage::new(), &by_size).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_task_applies_the_policy_repeatedly() {
    let storage = Arc::new(filled(&[aged(2)]).await);
    let policy = RetentionPolicy { max_age: Some(Duration::from_secs(HOUR)), ..RetentionPolicy::default() };
    let task = RetentionTask::start(storage.clone(), policy, Duration::from_secs(60));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(kept(&*storage).await, []);
        storage.store_trace(aged(2)).await.unwrap();
    }
    drop(task);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(kept(&*storage).await.len(), 1);
}
