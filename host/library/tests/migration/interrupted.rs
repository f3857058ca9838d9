use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use reflow_tracing::migration::{CopyOptions, Journal, MigrationError, StorageMigrator};
use reflow_tracing::storage::StorageError;

use super::{Failing, everything, filled, memory};

fn options(folder: &tempfile::TempDir, about: &str, resume: bool) -> CopyOptions {
    CopyOptions {
        batch_events: NonZeroUsize::new(10).unwrap(),
        verify: true,
        journal: Some(Journal { path: folder.path().join("journal"), about: about.into(), resume }),
        ..CopyOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_migration_resumes_where_it_stopped() {
    for fail_source in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (Failing::new(filled(600).await), Failing::new(memory()));
        let (source, target) = (Arc::new(source), Arc::new(target));
        let whole = StorageMigrator::shared(source.clone(), Arc::new(memory())).migrate_all_traces().await.unwrap();
        let migrate = |resume| {
            let migrator = StorageMigrator::shared(source.clone(), target.clone());
            let migrator = migrator.options(options(&folder, "a to b", resume));
            async move { migrator.migrate_all_traces().await }
        };
        let left = if fail_source { &source.parts_left } else { &target.writes_left };
        let mut runs = 0;
        let report = loop {
            left.store(if fail_source { 250 } else { 40 }, Ordering::SeqCst);
            runs += 1;
            match migrate(runs > 1).await {
                Ok(report) => break report,
                Err(MigrationError::Source(error)) if fail_source => assert!(error.is_retryable()),
                Err(MigrationError::Target(error)) if !fail_source => assert!(error.is_retryable()),
                Err(MigrationError::Verification(_)) => unreachable!("the target is read without fail"),
                Err(error) => panic!("{error}"),
            }
            assert!(folder.path().join("journal").exists());
            // Without going on it would never come to the end; the comparison reads the source once more.
            assert!(runs < 20);
            if runs == 6 {
                left.store(usize::MAX, Ordering::SeqCst);
                break migrate(true).await.unwrap();
            }
        };
        assert!(runs > 2, "{runs}");
        assert_eq!(report.copied, whole.copied, "each trace counts once, whichever run copied it");
        assert!(report.is_complete());
        assert!(everything(&target.storage).await == everything(&source.storage).await);
        assert!(!folder.path().join("journal").exists(), "nothing is left to be resumed");
    }
}

#[tokio::test]
async fn a_journal_of_another_migration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (Arc::new(filled(100).await), Arc::new(Failing::new(memory())));
    let migrate = |about: &str, resume| {
        let migrator = StorageMigrator::shared(source.clone(), target.clone());
        let migrator = migrator.options(options(&folder, about, resume));
        async move { migrator.migrate_all_traces().await }
    };
    target.writes_left.store(5, Ordering::SeqCst);
    migrate("a to b", true).await.unwrap_err();
    target.writes_left.store(usize::MAX, Ordering::SeqCst);
    let error = migrate("a to c", true).await.unwrap_err().to_string();
    assert!(error.contains("a to b") && error.contains("journal"), "{error}");
    std::fs::write(folder.path().join("journal"), "{").unwrap();
    let error = migrate("a to b", true).await.unwrap_err();
    assert!(matches!(StorageError::from(error.clone()), StorageError::Other { .. }), "{error:?}");
    assert!(error.to_string().contains("not a journal"), "{error}");
    assert!(migrate("a to b", false).await.unwrap().is_complete());
}

#[tokio::test]
async fn a_replaced_target_is_filled_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let source = Arc::new(filled(100).await);
    let old = Arc::new(Failing::new(memory()));
    old.writes_left.store(5, Ordering::SeqCst);
    let migrator = StorageMigrator::shared(source.clone(), old.clone()).options(options(&folder, "a to b", true));
    migrator.migrate_all_traces().await.unwrap_err();
    assert!(folder.path().join("journal").exists());

    let new = Arc::new(memory());
    let resuming = CopyOptions { verify: false, ..options(&folder, "a to b", true) };
    let migrator = StorageMigrator::shared(source.clone(), new.clone()).options(resuming);
    assert_eq!(migrator.migrate_all_traces().await.unwrap().copied.traces, 100);
    assert!(everything(&*new).await == everything(&*source).await);
}

#[tokio::test]
async fn the_largest_parallelism_is_allowed() {
    let options = CopyOptions { parallelism: NonZeroUsize::MAX, ..CopyOptions::default() };
    let migrator = StorageMigrator::new(filled(100).await, memory()).options(options);
    assert_eq!(migrator.migrate_all_traces().await.unwrap().copied.traces, 100);
}
