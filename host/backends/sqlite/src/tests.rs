use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use chrono::DateTime;
use reflow_tracing_storage::StorageBackendExt;

use super::*;
use reflow_tracing_model::{
    FlowId, FlowTrace, FlowVersion, MessageSnapshot, TraceEvent, TraceEventData, TraceEventType, TraceQuery,
};
use reflow_tracing_storage::{StorageBackend, StorageError};

pub(crate) fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traces.db");
    (folder, file)
}

pub(crate) fn config(file: &Path) -> SqliteConfig {
    SqliteConfig { database_path: file.to_str().unwrap().into(), ..Default::default() }
}

pub(crate) fn trace(events: usize) -> FlowTrace {
    let event = |number| TraceEvent {
        actor_id: format!("actor {number}"),
        timestamp: DateTime::from_timestamp(1_800_000_000, number as u32).unwrap(),
        ..Default::default()
    };
    FlowTrace { events: (0..events).map(event).collect(), ..FlowTrace::new(FlowId::new("f"), FlowVersion::default()) }
}

/// A connection as another program's.
pub(crate) fn other(file: &Path) -> Connection {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

/// Copies a file as a program leaves it that is killed in the middle of a transaction.
pub(crate) fn killed_while_writing(connection: &Connection, from: &Path, to: &Path) {
    // More than it keeps in memory: it writes into the file before it commits.
    connection
        .execute_batch(
            "PRAGMA cache_size = 1; BEGIN; PRAGMA application_id = 7;
             CREATE TABLE unfinished (x); INSERT INTO unfinished VALUES (zeroblob(1000000))",
        )
        .unwrap();
    for end in ["", "-journal"] {
        let part = |path: &Path| format!("{}{end}", path.display());
        assert!(fs::copy(part(from), part(to)).unwrap() > 0);
    }
    connection.execute_batch("ROLLBACK").unwrap();
}

async fn refusal(config: SqliteConfig) -> String {
    SqliteStorage::with_config(config).await.err().expect("it must not open").to_string()
}

#[tokio::test]
async fn the_file_and_its_folder_are_created() {
    let (folder, _) = folder();
    let file = folder.path().join("a/b/traces.db");
    let storage = SqliteStorage::new(&file).await.unwrap();
    storage.store_trace(trace(1)).await.unwrap();
    assert!(file.is_file());
}

#[tokio::test]
async fn stored_traces_are_read_after_reopening() {
    let (_folder, file) = folder();
    let stored = trace(3);
    let storage = SqliteStorage::new(&file).await.unwrap();
    storage.store_trace(stored.clone()).await.unwrap();
    storage.close().await.unwrap();
    let storage = SqliteStorage::new(&file).await.unwrap();
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
}

#[tokio::test]
async fn every_setting_takes_effect_on_every_connection() {
    let (folder, _) = folder();
    let settings = SqliteConfig {
        journal_mode: JournalMode::Truncate,
        synchronous: SynchronousMode::Extra,
        cache_size_mb: 3,
        busy_timeout_ms: 1_234,
        max_connections: 3,
        temp_store: TempStore::Memory,
        mmap_size_mb: 5,
        ..config(&folder.path().join("set.db"))
    };
    let read = |connection: &Connection| {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        (mode, ["synchronous", "cache_size", "busy_timeout", "temp_store", "mmap_size"].map(pragma))
    };
    let expected = ("truncate".to_owned(), [3, -3 * 1024, 1_234, 2, 5 * 1024 * 1024]);
    // The writer's, and those of all readers at once.
    assert_eq!(read(&connection::open(&settings).unwrap()), expected);
    let storage = SqliteStorage::with_config(settings).await.unwrap();
    let readers = futures::future::join_all((0..3).map(|_| {
        storage.0.inner().readers.run(move |connection| {
            std::thread::sleep(Duration::from_millis(50));
            Ok(read(connection))
        })
    }));
    for reader in readers.await {
        assert_eq!(reader.unwrap(), expected);
    }
}

#[tokio::test]
async fn every_mode_can_be_chosen() {
    use JournalMode::{Delete, Memory, Off, Persist, Truncate, WAL};
    for (mode, name) in [
        (WAL, "wal"),
        (Delete, "delete"),
        (Truncate, "truncate"),
        (Persist, "persist"),
        (Memory, "memory"),
        (Off, "off"),
    ] {
        let (_folder, file) = folder();
        let settings = SqliteConfig { journal_mode: mode, ..config(&file) };
        let connection = connection::open(&settings).unwrap();
        let found: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(found, name);
        let storage = SqliteStorage::with_config(settings).await.unwrap();
        let stored = trace(2);
        storage.store_trace(stored.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
    }
    use SynchronousMode::{Extra, Full, Normal, Off as Never};
    for (mode, number) in [(Never, 0), (Normal, 1), (Full, 2), (Extra, 3)] {
        let (_folder, file) = folder();
        let connection = connection::open(&SqliteConfig { synchronous: mode, ..config(&file) }).unwrap();
        let found: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(found, number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_max_connections_queries_run_at_a_time() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::with_config(SqliteConfig { max_connections: 2, ..config(&file) }).await.unwrap();
    let at_once = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let reads = futures::future::join_all((0..8).map(|_| {
        let at_once = at_once.clone();
        storage.0.inner().readers.run(move |_| {
            use std::sync::atomic::Ordering::SeqCst;
            let readers = at_once.fetch_add(1, SeqCst) + 1;
            std::thread::sleep(Duration::from_millis(20));
            at_once.fetch_sub(1, SeqCst);
            Ok(readers)
        })
    }));
    let most = reads.await.into_iter().map(Result::unwrap).max();
    assert_eq!(most, Some(2));
}

#[tokio::test]
async fn a_write_waits_for_a_locked_file_and_then_fails_with_a_retryable_error() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::with_config(SqliteConfig { busy_timeout_ms: 300, ..config(&file) }).await.unwrap();
    let mut stored = trace(1);
    storage.store_trace(stored.clone()).await.unwrap();
    let holder = other(&file);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();

    let event = TraceEvent { timestamp: DateTime::from_timestamp(1_900_000_000, 0).unwrap(), ..Default::default() };
    let began = Instant::now();
    let error = storage.store_event(stored.trace_id, event.clone()).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert!(error.is_retryable() && error.to_string().contains("traces.db is locked"), "{error}");
    // Readers don't wait.
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored.clone()));

    // Released while a write waits: it goes through.
    let (written, ()) = tokio::join!(storage.store_event(stored.trace_id, event.clone()), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        holder.execute_batch("ROLLBACK").unwrap();
    });
    written.unwrap();
    stored.events.push(event);
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
}

#[tokio::test]
async fn a_flush_blocked_by_a_reader_is_an_error_and_closing_succeeds() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::with_config(SqliteConfig { busy_timeout_ms: 100, ..config(&file) }).await.unwrap();
    storage.store_trace(trace(1)).await.unwrap();
    let reader = other(&file);
    reader.execute_batch("BEGIN; SELECT count(*) FROM trace").unwrap();
    let later = trace(2);
    storage.store_trace(later.clone()).await.unwrap();

    let error = storage.flush().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("a reader of"), "{error}");
    storage.close().await.unwrap();
    drop(storage);
    reader.execute_batch("ROLLBACK").unwrap();
    let storage = SqliteStorage::new(&file).await.unwrap();
    assert_eq!(storage.get_trace(later.trace_id).await.unwrap(), Some(later));
    storage.flush().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_rejected_and_not_changed() {
    let (_folder, file) = folder();
    let text = "a diary, and a long one. ".repeat(500);
    fs::write(&file, &text).unwrap();
    let message = refusal(config(&file)).await;
    assert!(message.contains("traces.db") && message.contains("not a SQLite database"), "{message}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_database_of_another_program_is_rejected_and_not_changed() {
    let (_folder, file) = folder();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    let message = refusal(config(&file)).await;
    assert!(message.contains("traces.db") && message.contains("another program"), "{message}");
    let tables: String =
        other(&file).query_row("SELECT group_concat(name) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, "recipes");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_rejected_with_both_versions() {
    let (_folder, file) = folder();
    SqliteStorage::new(&file).await.unwrap().close().await.unwrap();
    other(&file).pragma_update(None, "user_version", 99).unwrap();
    let message = refusal(config(&file)).await;
    assert!(message.contains("version 99") && message.contains("newer"), "{message}");
}

#[tokio::test]
async fn a_path_that_is_not_a_file_name_is_rejected() {
    for path in ["", ":memory:"] {
        let message = refusal(SqliteConfig { database_path: path.into(), ..Default::default() }).await;
        assert!(message.contains("database_path") && message.contains("`memory`"), "{message}");
    }
    let (folder, file) = folder();
    fs::write(&file, "").unwrap();
    let message = refusal(config(&file.join("inside.db"))).await;
    assert!(message.contains("the folder of the database"), "{message}");
    let message = refusal(config(folder.path())).await;
    assert!(message.contains("can't be opened"), "{message}");
}

#[tokio::test]
async fn a_damaged_file_is_an_error_with_a_remedy() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    let stored = trace(5_000);
    storage.store_trace(stored.clone()).await.unwrap();
    storage.close().await.unwrap();
    drop(storage);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    // Whole pages, the headers of their trees included.
    bytes[middle - middle % 4096..][..8 * 4096].fill(0xab);
    fs::write(&file, bytes).unwrap();

    let storage = SqliteStorage::new(&file).await.unwrap();
    let error = storage.get_trace(stored.trace_id).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt(_)) && !error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("traces.db") && error.to_string().contains(".recover"), "{error}");
}

#[tokio::test]
async fn a_value_of_another_program_is_an_error_that_names_the_file() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    let stored = trace(2);
    storage.store_trace(stored.clone()).await.unwrap();
    other(&file).execute_batch("UPDATE event SET kind = 'Sneezed'").unwrap();
    let error = storage.get_trace(stored.trace_id).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("traces.db") && error.to_string().contains("Sneezed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_during_writes_is_a_complete_store() {
    let (folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    let before = trace(100);
    storage.store_trace(before.clone()).await.unwrap();
    let copy = folder.path().join("copy.db");
    let (backed_up, ()) = tokio::join!(storage.backup(&copy), async {
        for _ in 0..50 {
            storage.store_trace(trace(10)).await.unwrap();
        }
    });
    backed_up.unwrap();

    let copied = SqliteStorage::new(&copy).await.unwrap();
    assert_eq!(copied.get_trace(before.trace_id).await.unwrap(), Some(before));
    for trace in copied.query_traces(TraceQuery::default()).await.unwrap() {
        assert_eq!(storage.get_trace(trace.trace_id).await.unwrap(), Some(trace), "a trace is copied whole");
    }
    let error = storage.backup(&copy).await.unwrap_err();
    assert!(error.to_string().contains("copy.db") && error.to_string().contains("exists"), "{error}");
    assert_eq!(
        fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().contains("partial") })
            .count(),
        0
    );
}

#[tokio::test]
async fn a_deletion_returns_space_to_the_file_system() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    let stored = trace(5_000);
    storage.store_trace(stored.clone()).await.unwrap();
    storage.flush().await.unwrap();
    let full = fs::metadata(&file).unwrap().len();
    storage.delete_trace(stored.trace_id).await.unwrap();
    storage.flush().await.unwrap();
    let empty = fs::metadata(&file).unwrap().len();
    assert!(empty * 4 < full, "{empty} of {full} bytes");
}

#[tokio::test]
async fn a_file_whose_creation_was_interrupted_is_created_again_and_frees_space() {
    let (folder, file) = folder();
    let unfinished = folder.path().join("unfinished.db");
    killed_while_writing(&Connection::open(&unfinished).unwrap(), &unfinished, &file);
    let storage = SqliteStorage::new(&file).await.unwrap();
    storage.store_trace(trace(3)).await.unwrap();
    let mode: i64 = other(&file).pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
    assert_eq!(mode, 2, "incremental");
}

#[tokio::test]
async fn the_views_show_readable_traces_and_events() {
    let (_folder, file) = folder();
    let storage = SqliteStorage::new(&file).await.unwrap();
    let mut stored = trace(0);
    stored.start_time = DateTime::from_timestamp(-1, 5).unwrap();
    stored.end_time = Some(DateTime::from_timestamp(1, 5).unwrap());
    stored.metadata.tags.insert("team".into(), "blue".into());
    let slow = |actor: &str, milliseconds: u64, seconds| {
        let mut event = TraceEvent {
            actor_id: actor.into(),
            timestamp: DateTime::from_timestamp(seconds, 123_456_789).unwrap(),
            event_type: TraceEventType::DataFlow { to_actor: "sink".into(), to_port: "in".into() },
            data: TraceEventData {
                message: Some(MessageSnapshot { message_type: "Row".into(), size_bytes: 7, ..Default::default() }),
                custom_attributes: [("shard".to_owned(), serde_json::json!({ "id": 3 }))].into(),
                ..Default::default()
            },
            ..Default::default()
        };
        event.data.performance_metrics.execution_time_ns = Some(milliseconds * 1_000_000);
        event
    };
    // 2026-11-22T00:00:00Z is 1795305600.
    stored.events =
        vec![slow("fast", 1, 1_795_305_601), slow("slow", 90, 1_795_305_602), slow("slow", 110, 1_795_305_603)];
    stored.events.push(slow("the day after", 500, 1_795_305_600 + 86_400));
    storage.store_trace(stored.clone()).await.unwrap();

    let shell = other(&file);
    let header: (String, String, String, String, f64, String, i64) = shell
        .query_row(
            "SELECT trace_id, flow_id, start_time, end_time, duration_ms, metadata ->> '$.tags.team', events FROM traces",
            [],
            |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
            },
        )
        .unwrap();
    let expected = (
        stored.trace_id.to_string(),
        "f".to_owned(),
        "1969-12-31T23:59:59.000000005Z".to_owned(),
        "1970-01-01T00:00:01.000000005Z".to_owned(),
        2_000.0,
        "blue".to_owned(),
        4,
    );
    assert_eq!(header, expected);

    let slowest: Vec<(String, i64, f64)> = shell
        .prepare(
            "SELECT actor_id, count(*), avg(execution_time_ns) / 1e6 AS ms FROM trace_events \
             WHERE timestamp >= '2026-11-22' AND timestamp < '2026-11-23' GROUP BY actor_id ORDER BY ms DESC",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(slowest, [("slow".to_owned(), 2, 100.0), ("fast".to_owned(), 1, 1.0)]);

    let event: (String, String, String, i64, String, i64) = shell
        .query_row(
            "SELECT event_id, timestamp, event_type, attributes ->> '$.shard.id', \
             data ->> '$.message.message_type', data ->> '$.custom_attributes.shard.id' \
             FROM trace_events WHERE trace_id = ?1 LIMIT 1 OFFSET 0",
            [stored.trace_id.to_string()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
        )
        .unwrap();
    let of_event = stored.events.iter().find(|stored| stored.event_id.to_string() == event.0).expect("an id as text");
    assert_eq!(event.1, of_event.timestamp.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true));
    assert_eq!((event.2.as_str(), event.3, event.4.as_str(), event.5), ("DataFlow", 3, "Row", 3));
}
