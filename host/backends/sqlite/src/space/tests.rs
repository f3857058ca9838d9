use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use reflow_tracing_model::FlowTrace;
use reflow_tracing_storage::{Deletion, StorageBackend, StorageBackendExt};

use crate::SqliteStorage;
use crate::connection::LOG_LIMIT;
use crate::tests::{config, folder, other, trace};

const MIB: u64 = 1 << 20;

/// A trace whose events hold so many mebibytes.
fn large(mebibytes: usize) -> FlowTrace {
    let mut trace = trace(mebibytes * 16);
    for event in &mut trace.events {
        event.data.error = Some("x".repeat(64 << 10));
    }
    trace
}

fn len(file: &Path, end: &str) -> u64 {
    fs::metadata(format!("{}{end}", file.display())).map_or(0, |file| file.len())
}

/// Waits until the file and its log are no longer than this.
fn shrinks_to(file: &Path, bytes: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    while len(file, "") + len(file, "-wal") > bytes {
        assert!(Instant::now() < until, "{} bytes, and {} in the log", len(file, ""), len(file, "-wal"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn deleted_traces_give_all_their_room_back_in_the_background() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    let stored = large(30);
    storage.store_trace(stored.clone()).await.unwrap();
    storage.flush().await.unwrap();
    assert!(len(&file, "") > 30 * MIB);
    storage.delete_trace(stored.trace_id).await.unwrap();
    shrinks_to(&file, MIB);
    // Writes go on meanwhile and afterwards.
    let later = trace(3);
    storage.store_trace(later.clone()).await.unwrap();
    assert_eq!(storage.get_trace(later.trace_id).await.unwrap(), Some(later));
}

#[tokio::test]
async fn room_that_a_killed_program_left_unused_is_given_back_by_the_next() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    storage.store_trace(large(20)).await.unwrap();
    storage.close().await.unwrap();
    drop(storage);
    other(&file).execute_batch("DELETE FROM event").unwrap();
    assert!(len(&file, "") > 20 * MIB);
    let _storage = SqliteStorage::new(&file).await.unwrap();
    shrinks_to(&file, MIB);
}

#[tokio::test]
async fn a_log_that_a_long_read_let_grow_is_cut_off_afterwards() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    storage.store_trace(trace(1)).await.unwrap();
    let reader = other(&file);
    reader.execute_batch("BEGIN; SELECT count(*) FROM trace").unwrap();
    for _ in 0..4 {
        storage.store_trace(large(5)).await.unwrap();
    }
    assert!(len(&file, "-wal") > 20 * MIB);
    reader.execute_batch("COMMIT").unwrap();
    // The first moves the log to the file, the second begins it anew.
    for _ in 0..2 {
        storage.store_trace(trace(1)).await.unwrap();
    }
    assert!(len(&file, "-wal") <= LOG_LIMIT, "{} bytes", len(&file, "-wal"));
}

#[tokio::test]
async fn closing_gives_room_back() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    let stored = large(20);
    storage.store_trace(stored.clone()).await.unwrap();
    storage.delete_trace(stored.trace_id).await.unwrap();
    storage.close().await.unwrap();
    assert!(len(&file, "") < MIB, "{} bytes", len(&file, ""));
}

#[tokio::test]
async fn many_old_traces_are_deleted_in_several_transactions() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    storage.store_traces((0..250).map(|_| trace(1)).collect()).await.unwrap();
    let deleted = storage.delete(Deletion::StartedBefore(chrono::Utc::now() + chrono::TimeDelta::hours(1))).await;
    assert_eq!(deleted.unwrap(), 250);
    assert_eq!(storage.stats().await.unwrap().events, 0);
}

#[tokio::test]
async fn a_store_is_opened_again_without_a_write() {
    let (_folder, file) = folder();
    let state = |file: &Path| {
        let connection = other(file);
        let views: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'view'", [], |row| row.get(0))
            .unwrap();
        let version: i64 = connection.pragma_query_value(None, "schema_version", |row| row.get(0)).unwrap();
        (views, version)
    };
    SqliteStorage::with_config(config(&file)).await.unwrap().close().await.unwrap();
    let before = state(&file);
    SqliteStorage::with_config(config(&file)).await.unwrap().close().await.unwrap();
    assert_eq!(state(&file), before);
    // Views that somebody changed or removed are created again.
    other(&file).execute_batch("DROP VIEW traces; CREATE VIEW traces AS SELECT 1").unwrap();
    other(&file).execute_batch("DROP VIEW trace_events").unwrap();
    SqliteStorage::with_config(config(&file)).await.unwrap().close().await.unwrap();
    assert_eq!(state(&file).0, 2);
    other(&file).query_row("SELECT count(*) FROM traces WHERE flow_id = 'f'", [], |_| Ok(())).unwrap();
}
