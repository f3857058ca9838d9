//! SQLite on a full disk: it opens, deletes and ends what is there, and takes writes again once there is room.

use std::path::Path;
use std::time::{Duration, Instant};

use reflow_tracing::maintenance::retention::{RetentionPolicy, retain};
use reflow_tracing::storage::{SqliteStorage, StorageBackend, StorageError};
use reflow_tracing::{ExecutionStatus, FlowTrace, TraceEvent, TraceQuery};
use reflow_tracing_tests::{Backend, Host, Setting};
use serde_json::json;

use super::{Disk, health};
use crate::wire::{Connection, is_stored};

/// A trace that has ended, with so many events of 20 kB.
fn ended(events: usize) -> FlowTrace {
    let event = || {
        let mut event = TraceEvent { timestamp: chrono::Utc::now(), ..TraceEvent::default() };
        event.data.error = Some("x".repeat(20_000));
        event
    };
    let now = chrono::Utc::now();
    FlowTrace {
        start_time: now,
        end_time: Some(now),
        status: ExecutionStatus::Completed,
        events: (0..events).map(|_| event()).collect(),
        ..FlowTrace::default()
    }
}

/// Stores traces of 400 kB until the disk is full. Returns their number.
async fn fill(storage: &SqliteStorage) -> usize {
    for traces in 0.. {
        match storage.store_trace(ended(20)).await {
            Ok(()) => {}
            Err(StorageError::Exhausted(why)) => {
                assert!(why.contains("full"), "{why}");
                return traces;
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("no disk is endless")
}

async fn count(storage: &SqliteStorage) -> usize {
    storage.query_traces(TraceQuery { limit: Some(1_000), ..TraceQuery::default() }).await.expect("readable").len()
}

fn assert_is_sound(file: &Path) {
    let connection = rusqlite::Connection::open(file).expect("the file");
    let found: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(found, "ok");
}

#[tokio::test]
async fn retention_on_a_full_disk_gives_room_to_later_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk");
    let disk = Disk::mount(&path);
    let file = disk.0.join("traces.db");
    let storage = SqliteStorage::new(&file).await.expect("it opens");
    let stored = fill(&storage).await;
    assert!(stored > 8, "{stored} traces");
    // Another program takes what is left.
    disk.fill();
    assert!(matches!(storage.store_trace(ended(1)).await, Err(StorageError::Exhausted(_))));
    assert!(storage.health_check().await.is_err());

    let by_hand = SqliteStorage::new(&file).await.expect("it opens on a full disk");
    let policy = RetentionPolicy { max_traces: Some(3), ..RetentionPolicy::default() };
    let report = retain(&by_hand, &policy, false).await.expect("there is room to delete");
    assert_eq!(report.deleted() as usize, stored - 3);
    by_hand.close().await.expect("it closes");
    assert_eq!(count(&storage).await, 3);

    storage.health_check().await.expect("there is room again");
    storage.store_trace(ended(20)).await.expect("there is room again");
    assert_eq!(count(&storage).await, 4);
    storage.close().await.expect("it closes");
    drop((storage, by_hand));
    assert_is_sound(&file);
}

#[tokio::test]
async fn what_a_killed_host_left_on_a_full_disk_is_read_and_deleted() {
    let setting = Setting::new(Backend::Sqlite);
    let folder = setting.path().join("disk");
    let disk = Disk::mount(&folder);
    setting.write("[server]\nport = 0\n[storage.sqlite]\ndatabase_path = \"disk/traces.db\"\n");
    let host = Host::start(&setting);
    let store = async |bytes: usize| {
        let mut connection = Connection::open(&host.url).await;
        let trace = connection.start_trace("disk").await;
        assert!(is_stored(&connection.record(&trace, "a", json!("x".repeat(bytes))).await));
    };
    for _ in 0..11 {
        store(1 << 19).await;
    }
    let mut stored = 11;
    // A write makes the reserve, once the database is large enough for one.
    while !folder.join("traces.db-reserve").exists() {
        store(1 << 16).await;
        stored += 1;
        assert!(stored < 40, "{}", host.log());
    }
    let until = Instant::now() + Duration::from_secs(10);
    while setting.stdout(&["query", "--status", "completed"]).matches("Completed").count() < stored {
        assert!(Instant::now() < until, "{}", host.log());
    }
    host.kill();
    // The index of the log is not there, as after a restart of the machine.
    std::fs::remove_file(folder.join("traces.db-shm")).expect("it is there");
    disk.fill();
    assert_eq!(setting.traces().len(), stored);
    let said = setting.stdout(&["retain", "--max-traces", "2"]);
    assert!(said.contains(&format!("deleted {} traces", stored - 2)), "{said}");
    let host = Host::start(&setting);
    assert_eq!(health(&host).0, 200);
    host.stop();
    assert_is_sound(&folder.join("traces.db"));
}

#[tokio::test]
async fn a_write_that_does_not_fit_leaves_its_room_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk");
    let disk = Disk::mount(&path);
    let file = disk.0.join("traces.db");
    let storage = SqliteStorage::new(&file).await.expect("it opens");
    for _ in 0..3 {
        // Those that are stored together with it are not refused for it.
        let (refused, beside) = tokio::join!(storage.store_trace(ended(600)), storage.store_trace(ended(1)));
        assert!(matches!(refused, Err(StorageError::Exhausted(_))), "{refused:?}");
        beside.expect("this one fits");
        for _ in 0..3 {
            storage.store_trace(ended(10)).await.expect("this one fits");
        }
    }
    assert_eq!(count(&storage).await, 12);
}

#[tokio::test]
async fn a_host_on_a_full_disk_ends_traces_and_stops() {
    let setting = Setting::new(Backend::Sqlite);
    let folder = setting.path().join("disk");
    let disk = Disk::mount(&folder);
    setting.write("[server]\nport = 0\n[storage.sqlite]\ndatabase_path = \"disk/traces.db\"\n");
    let host = Host::start(&setting);
    let mut connection = Connection::open(&host.url).await;
    let trace = connection.start_trace("disk").await;
    for _ in 0..5 {
        assert!(is_stored(&connection.record(&trace, "a", json!("x".repeat(1 << 20))).await));
    }
    disk.fill();
    assert!(!is_stored(&connection.record(&trace, "a", json!("x".repeat(1 << 20))).await));
    assert_eq!(health(&host).0, 503);

    drop(connection);
    let until = Instant::now() + Duration::from_secs(10);
    while setting.traces()[0].status != reflow_tracing_protocol::ExecutionStatus::Completed {
        assert!(Instant::now() < until, "{}", host.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    host.stop();
    assert_eq!(setting.traces()[0].events.len(), 5);
    drop(disk);
}
