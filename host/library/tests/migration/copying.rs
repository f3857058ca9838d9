use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use futures::FutureExt;
use reflow_tracing::migration::{CopyOptions, Progress, StorageMigrator};
use reflow_tracing::storage::{MemoryStorage, SqliteStorage, StorageBackend};
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, TraceEvent, TraceQuery};

use super::{Failing, everything, filled, memory, start, trace};

fn verifying() -> CopyOptions {
    CopyOptions { verify: true, ..CopyOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_copied_unchanged_and_a_second_copy_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = Arc::new(filled(1_234).await);
    let expected = everything(&*source).await;
    let events = (0..1_234).map(|number| number % 7).sum::<u64>() + 15;
    let target = Arc::new(SqliteStorage::new(folder.path().join("target.db")).await.unwrap());

    let migrator = StorageMigrator::shared(source, target.clone()).options(verifying());
    let mut checksums = Vec::new();
    for _ in 0..2 {
        let report = migrator.migrate_all_traces().await.unwrap();
        let copied = report.copied;
        assert_eq!((copied.traces, copied.headerless, copied.events), (1_234, 3, events));
        assert_eq!((report.missed, report.unfinished, report.unreadable, report.expired), (0, 0, 0, 0));
        let verification = report.verification.as_ref().unwrap();
        assert_eq!((&verification.source, &verification.target), (&copied, &copied));
        assert_eq!((verification.copied_again, verification.differing, verification.in_target_alone), (0, 0, 0));
        assert!(report.is_complete());
        assert!(everything(&*target).await == expected);
        checksums.push(copied.checksum);
    }
    assert_eq!(checksums[0], checksums[1]);

    // Whatever the sizes of batches and however they fall on traces.
    for (batch_events, parallelism) in [(1, 1), (3, 7), (100, 2)] {
        let options = CopyOptions {
            batch_events: NonZeroUsize::new(batch_events).unwrap(),
            parallelism: NonZeroUsize::new(parallelism).unwrap(),
            ..verifying()
        };
        let back = Arc::new(memory());
        let migrator = StorageMigrator::shared(target.clone(), back.clone()).options(options);
        assert_eq!(migrator.migrate_all_traces().await.unwrap().verification.unwrap().target.checksum, checksums[0]);
        assert!(everything(&*back).await == expected);
    }
}

#[tokio::test]
async fn a_filter_selects_the_copied_traces() {
    let source = filled(100).await;
    let filter = TraceQuery {
        flow_id: Some(FlowId::new("flow 1")),
        time_range: Some((start() + TimeDelta::seconds(10), start() + TimeDelta::seconds(20))),
        limit: Some(1),
        ..TraceQuery::default()
    };
    let (source, target) = (Arc::new(source), Arc::new(memory()));
    let migrator = StorageMigrator::shared(source.clone(), target.clone()).filter(filter.clone()).options(verifying());
    let report = migrator.migrate_all_traces().await.unwrap();
    assert!(report.is_complete());
    let (mut expected, _) = everything(&*source).await;
    expected.retain(|trace| filter.matches(trace));
    assert!(expected.len() > 3 && report.copied.traces == expected.len() as u64, "{report:?}");
    assert!(everything(&*target).await == (expected, Vec::new()));
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let (source, target) = (Arc::new(filled(100).await), Arc::new(memory()));
    let migrator = StorageMigrator::shared(source, target.clone());
    let dry = migrator.dry_run().options(verifying());
    let report = dry.migrate_all_traces().await.unwrap();
    assert_eq!((report.copied.traces, report.copied.headerless), (100, 3));
    assert_eq!(report.verification, None);
    assert_eq!(target.stats().await.unwrap(), memory().stats().await.unwrap());
}

/// Calls `act` with the source once something was copied.
fn once_copied(source: &Arc<MemoryStorage>, act: fn(&MemoryStorage), verify: bool) -> CopyOptions {
    let (source, acted) = (Arc::clone(source), Mutex::new(false));
    let on_progress = move |progress: &Progress| {
        let mut acted = acted.lock().unwrap();
        if matches!(progress, Progress::Copied(_)) && !*acted {
            *acted = true;
            act(&source);
        }
    };
    // Small batches: most of the source is still to be read.
    let batch_events = NonZeroUsize::new(20).unwrap();
    CopyOptions { verify, batch_events, on_progress: Some(Arc::new(on_progress)), ..CopyOptions::default() }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory does not wait")
}

#[tokio::test]
async fn traces_that_start_during_a_copy_are_copied() {
    let (source, target) = (Arc::new(filled(2_000).await), Arc::new(memory()));
    let options = once_copied(&source, |source| now(source.store_trace(trace(9_999))).unwrap(), false);
    let report =
        StorageMigrator::shared(source.clone(), target.clone()).options(options).migrate_all_traces().await.unwrap();
    assert_eq!((report.copied.traces, report.missed), (2_001, 0));
    assert!(everything(&*target).await == everything(&*source).await);
}

#[tokio::test]
async fn traces_that_arrive_late_with_an_early_start_are_reported_or_found_by_the_comparison() {
    for verify in [false, true] {
        let (source, target) = (Arc::new(filled(2_000).await), Arc::new(memory()));
        let early = |source: &MemoryStorage| {
            // This one was copied, and goes on.
            let first = now(source.query_traces(TraceQuery { offset: Some(1_999), ..Default::default() })).unwrap();
            now(source.store_event(first[0].trace_id, TraceEvent::default())).unwrap();
            now(source.store_trace(trace(0))).unwrap();
        };
        let options = once_copied(&source, early, verify);
        let migrator = StorageMigrator::shared(source.clone(), target.clone()).options(options);
        let report = migrator.migrate_all_traces().await.unwrap();
        if verify {
            let verification = report.verification.as_ref().unwrap();
            assert_eq!((verification.copied_again, verification.differing), (2, 0));
            assert!(report.is_complete());
        } else {
            assert_eq!(report.missed, 1);
            assert!(!report.is_complete());
            StorageMigrator::shared(source.clone(), target.clone()).migrate_all_traces().await.unwrap();
        }
        assert!(everything(&*target).await == everything(&*source).await);
    }
}

#[tokio::test]
async fn unfinished_traces_are_counted() {
    let source = filled(10).await;
    let running = FlowTrace { status: ExecutionStatus::Running, end_time: None, ..trace(3) };
    source.store_trace(running).await.unwrap();
    let report = StorageMigrator::new(source, memory()).migrate_all_traces().await.unwrap();
    assert_eq!((report.unfinished, report.copied.traces), (1, 11));
}

#[tokio::test]
async fn permanent_differences_are_reported() {
    let (source, target) = (Arc::new(filled(50).await), Arc::new(memory()));
    let migrator = StorageMigrator::shared(source.clone(), target.clone()).options(verifying());
    migrator.migrate_all_traces().await.unwrap();
    let of_source = everything(&*source).await.0.swap_remove(7).trace_id;
    target.store_event(of_source, TraceEvent::default()).await.unwrap();
    target.store_trace(trace(20)).await.unwrap();
    let report = migrator.migrate_all_traces().await.unwrap();
    let verification = report.verification.as_ref().unwrap();
    assert_eq!((verification.differing, &verification.first_differing), (1, &vec![of_source]));
    assert_eq!(verification.in_target_alone, 1);
    assert_ne!(verification.source.checksum, verification.target.checksum);
    assert!(!report.is_complete());
}

#[tokio::test]
async fn a_source_that_cannot_list_headerless_traces_is_reported() {
    let source = Failing { lists_headerless: false, ..Failing::new(filled(50).await) };
    let report = StorageMigrator::new(source, memory()).options(verifying()).migrate_all_traces().await.unwrap();
    assert!(report.headerless_unlisted && !report.is_complete());
    assert_eq!((report.copied.traces, report.copied.headerless, report.unread_events), (50, 0, 15));

    // A target that can't is asked for each of them.
    let target = Failing { lists_headerless: false, ..Failing::new(memory()) };
    let report =
        StorageMigrator::new(filled(50).await, target).options(verifying()).migrate_all_traces().await.unwrap();
    let verification = report.verification.as_ref().unwrap();
    assert_eq!((verification.copied_again, verification.source), (0, report.copied));
    assert!(report.is_complete());
}

#[tokio::test]
async fn traces_older_than_the_retention_of_the_target_are_counted() {
    let horizon = Some(start() + TimeDelta::seconds(10));
    let target = Failing { horizon, ..Failing::new(memory()) };
    let report = StorageMigrator::new(filled(50).await, target).migrate_all_traces().await.unwrap();
    assert_eq!(report.expired, 20);

    // What deletes them need not be the target.
    for (expires_before, expired) in [(10, 20), (20, 40)] {
        let expires_before = Some(start() + TimeDelta::seconds(expires_before));
        let options = CopyOptions { expires_before, ..CopyOptions::default() };
        let target = Failing { horizon, ..Failing::new(memory()) };
        let report =
            StorageMigrator::new(filled(50).await, target).options(options).migrate_all_traces().await.unwrap();
        assert_eq!(report.expired, expired);
    }
}
