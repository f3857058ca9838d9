//! A retention policy deletes rows, which no longer count then.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use reflow_tracing::maintenance::retention::{RetentionPolicy, retain};
use reflow_tracing::storage::{ClickHouseStorage, StorageBackend, StorageBackendExt};
use reflow_tracing::{ExecutionStatus, FlowTrace, TraceId, TraceQuery};

use super::{storage, trace};

const DAYS: i64 = 4;
const TRACES_A_DAY: i64 = 150;

/// Noon, `days_ago` days ago.
fn noon(days_ago: i64) -> DateTime<Utc> {
    let noon = NaiveTime::from_hms_opt(12, 0, 0).expect("it is a time");
    Utc::now().date_naive().and_time(noon).and_utc() - TimeDelta::days(days_ago)
}

/// Stores completed traces for each of the last days. Their events hardly compress.
async fn fill(storage: &ClickHouseStorage) {
    let traces = (0..DAYS * TRACES_A_DAY).map(|number| {
        let start = noon(1 + number % DAYS) + TimeDelta::seconds(number);
        let mut trace = FlowTrace { end_time: Some(start), status: ExecutionStatus::Completed, ..trace(start) };
        trace.events[0].data.error = Some((0..60).map(|_| TraceId::new().to_string()).collect());
        trace
    });
    storage.store_traces(traces.collect()).await.unwrap();
}

async fn starts(storage: &ClickHouseStorage) -> Vec<DateTime<Utc>> {
    let query = TraceQuery { limit: Some(TraceQuery::MAX_LIMIT), ..TraceQuery::default() };
    storage.query_headers(query).await.unwrap().traces.iter().map(|trace| trace.start_time).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_limits_the_size_of_a_store() {
    let (_server, _config, storage) = storage().await;
    fill(&storage).await;
    let full = storage.stats().await.unwrap().bytes.unwrap();
    let policy = RetentionPolicy { max_bytes: Some(full * 6 / 10), ..RetentionPolicy::default() };
    let report = retain(&storage, &policy, false).await.unwrap();
    // Four in ten of 600 traces alike are too many.
    assert!((230..=300).contains(&report.by_size), "{report:?}");
    let stats = storage.stats().await.unwrap();
    assert!(stats.bytes.unwrap() <= full * 6 / 10, "{full} bytes became {stats:?}");
    let left = (DAYS * TRACES_A_DAY) as u64 - report.deleted();
    assert_eq!((stats.traces, stats.events), (left, left));
    // The oldest went.
    assert!(starts(&storage).await.iter().all(|start| *start > noon(3)));
    assert_eq!(retain(&storage, &policy, false).await.unwrap().deleted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_limits_the_age_of_each_trace() {
    let (_server, _config, storage) = storage().await;
    fill(&storage).await;
    // In the middle of the second day: one is dropped as it is, of the other the earlier half goes.
    let border = noon(DAYS - 1) + TimeDelta::seconds(DAYS * TRACES_A_DAY / 2);
    let age = (Utc::now() - border).to_std().unwrap();
    let policy = RetentionPolicy { max_age: Some(age), ..RetentionPolicy::default() };
    let planned = retain(&storage, &policy, true).await.unwrap();
    let old = starts(&storage).await.iter().filter(|start| **start < border).count();
    assert!(planned.by_age.abs_diff(old as u64) <= 1 && old > TRACES_A_DAY as usize, "{planned:?}, {old} are old");
    let report = retain(&storage, &policy, false).await.unwrap();
    assert_eq!(report.by_age, planned.by_age);
    let left = starts(&storage).await;
    assert_eq!(left.len() as u64, (DAYS * TRACES_A_DAY) as u64 - report.by_age);
    assert!(left.iter().all(|start| *start + Duration::from_secs(5) >= border));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_of_many_traces_counts_those_that_existed() {
    let (_server, _config, storage) = storage().await;
    let traces: Vec<FlowTrace> = (0..30).map(|number| trace(noon(number))).collect();
    let mut ids: Vec<TraceId> = traces.iter().skip(10).map(|trace| trace.trace_id).collect();
    // Of this one there is an event alone.
    let headerless = TraceId::new();
    storage.store_event(headerless, super::event(noon(1))).await.unwrap();
    ids.extend([headerless, TraceId::new()]);
    storage.store_traces(traces).await.unwrap();
    assert_eq!(storage.delete_traces(ids.clone()).await.unwrap(), 21);
    assert_eq!(storage.delete_traces(ids).await.unwrap(), 0);
    let stats = storage.stats().await.unwrap();
    assert_eq!((stats.traces, stats.events), (10, 10));
}
