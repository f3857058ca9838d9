use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use reflow_tracing_memory::{MemoryConfig, MemoryStorage};
use reflow_tracing_model::TraceEvent;
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
async fn what_is_too_old_is_deleted_and_a_dry_run_says_so_before() {
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

#[tokio::test]
async fn the_oldest_of_too_many_are_deleted() {
    let traces: Vec<_> = (1..=700).map(aged).collect();
    let storage = filled(&traces).await;
    let policy = RetentionPolicy { max_traces: Some(250), ..RetentionPolicy::default() };
    assert_eq!(retain(&storage, &policy, true).await.unwrap().by_count, 450);
    assert_eq!(retain(&storage, &policy, false).await.unwrap().by_count, 450);
    let newest: Vec<_> = traces[..250].iter().map(|trace| trace.trace_id).collect();
    assert_eq!(kept(&storage).await, newest);
}

#[tokio::test]
async fn the_oldest_are_deleted_until_the_store_is_small_enough() {
    let storage = filled(&(1..=3_000).map(aged).collect::<Vec<_>>()).await;
    let before = storage.stats().await.unwrap().bytes.unwrap();
    let policy = RetentionPolicy { max_bytes: Some(before / 2), ..RetentionPolicy::default() };
    let planned = retain(&storage, &policy, true).await.unwrap().by_size;
    let deleted = retain(&storage, &policy, false).await.unwrap().by_size;
    assert!(planned.abs_diff(deleted) <= 2 * BITE as u64, "{planned} planned, {deleted} deleted");
    let after = storage.stats().await.unwrap().bytes.unwrap();
    assert!(after <= before / 2 && after > before / 3, "{before} bytes, then {after}");
}

#[tokio::test]
async fn a_trace_that_is_being_written_is_left_alone() {
    let running = |hours: i64, last_event: i64| {
        let mut trace = aged(hours);
        (trace.end_time, trace.status) = (None, ExecutionStatus::Running);
        trace.events[0].timestamp = Utc::now() - TimeDelta::minutes(last_event);
        trace
    };
    let (active, dead, ended) = (running(500, 5), running(400, 90), aged(300));
    let storage = filled(&[active.clone(), dead, ended]).await;
    let policy = RetentionPolicy { max_age: Some(Duration::from_secs(HOUR)), ..RetentionPolicy::default() };
    let report = retain(&storage, &policy, false).await.unwrap();
    assert_eq!((report.by_age, report.being_written), (2, 1));
    assert_eq!(kept(&storage).await, [active.trace_id]);
    let policy = RetentionPolicy { max_traces: Some(0), ..RetentionPolicy::default() };
    assert_eq!(retain(&storage, &policy, false).await.unwrap().being_written, 1);
    assert_eq!(kept(&storage).await, [active.trace_id]);
}

/// Memory that tells the size that it is told, and deletes or not.
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
    assert_eq!(kept(&storage).await.len(), 3_000 - BITE * VAIN_BITES as usize);
}

#[tokio::test]
async fn a_policy_that_can_not_be_kept_is_refused_before_anything_is_deleted() {
    let by_size = RetentionPolicy { max_bytes: Some(1), ..RetentionPolicy::default() };
    let untold = Told { storage: MemoryStorage::new(), size: None };
    let error = check(&untold, &by_size).await.unwrap_err();
    assert!(error.to_string().contains("does not tell its size"), "{error}");
    let keeps_all = Told { storage: MemoryStorage::new(), size: Some(0) };
    let by_count = RetentionPolicy { max_traces: Some(1), ..RetentionPolicy::default() };
    assert!(matches!(check(&keeps_all, &by_count).await, Err(StorageError::Unsupported(_))));
    check(&keeps_all, &RetentionPolicy::default()).await.unwrap();
    check(&MemoryStorage::new(), &by_size).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_task_applies_the_policy_again_and_again() {
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
