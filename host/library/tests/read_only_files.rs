//! SQLite files that are opened for reading only, and files that are not stores.

use std::path::Path;

use futures::TryStreamExt;
use reflow_tracing::migration::LegacySqlite;
use reflow_tracing::storage::{SqliteConfig, SqliteStorage, StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{FlowTrace, TraceEvent, TraceQuery};
use rusqlite::Connection;

fn to_read(file: &Path) -> SqliteConfig {
    SqliteConfig { database_path: file.to_str().unwrap().into(), read_only: true, ..SqliteConfig::default() }
}

async fn open(file: &Path) -> SqliteStorage {
    SqliteStorage::with_config(to_read(file)).await.unwrap()
}

/// The error of opening a file for reading and of opening it for writing, neither of which changes it.
async fn refusals(file: &Path) -> [String; 2] {
    let before = std::fs::read(file).unwrap();
    let refused = |outcome: Result<SqliteStorage, StorageError>| match outcome.err().expect("an error") {
        StorageError::Configuration(message) => message,
        other => panic!("{other:?}"),
    };
    let read = refused(SqliteStorage::with_config(to_read(file)).await);
    let written = refused(SqliteStorage::new(file).await);
    assert!(std::fs::read(file).unwrap() == before, "the file was changed");
    [read, written]
}

/// A store with one trace, in a new folder.
async fn stored() -> (tempfile::TempDir, std::path::PathBuf, FlowTrace) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("100% of #1?.db");
    let mut trace = FlowTrace { events: vec![TraceEvent::default()], ..FlowTrace::default() };
    trace.events[0].more.insert("newer", 1.into());
    let storage = SqliteStorage::new(&file).await.unwrap();
    storage.store_trace(trace.clone()).await.unwrap();
    storage.close().await.unwrap();
    (folder, file, trace)
}

#[tokio::test]
async fn a_store_that_is_read_can_not_be_written() {
    let (_folder, file, trace) = stored().await;
    let before = std::fs::read(&file).unwrap();
    let storage = open(&file).await;
    for error in [
        storage.store_trace(trace.clone()).await.unwrap_err(),
        storage.store_event(trace.trace_id, trace.events[0].clone()).await.unwrap_err(),
        storage.delete_trace(trace.trace_id).await.unwrap_err(),
        storage.delete_before(chrono::Utc::now()).await.unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Unsupported(_)) && error.to_string().contains("read_only"), "{error}");
    }
    storage.health_check().await.unwrap();
    storage.flush().await.unwrap();
    assert_eq!(storage.get_trace(trace.trace_id).await.unwrap(), Some(trace));
    storage.close().await.unwrap();
    assert!(std::fs::read(&file).unwrap() == before);
}

#[tokio::test]
async fn a_store_is_read_while_another_program_writes_or_holds_the_lock() {
    let (_folder, file, trace) = stored().await;
    let writer = SqliteStorage::new(&file).await.unwrap();
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; CREATE TABLE other (x)").unwrap();
    let reader = open(&file).await;
    assert_eq!(reader.query_traces(TraceQuery::default()).await.unwrap(), std::slice::from_ref(&trace));
    other.execute_batch("ROLLBACK").unwrap();
    let later = FlowTrace::default();
    writer.store_trace(later.clone()).await.unwrap();
    assert_eq!(reader.get_trace(later.trace_id).await.unwrap(), Some(later));
}

#[tokio::test]
async fn a_file_of_version_1_is_read_and_not_migrated() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/traces.v1.db");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traces.db");
    std::fs::copy(golden, &file).unwrap();
    let before = std::fs::read(&file).unwrap();
    let reader = open(&file).await;
    let read = reader.query_traces(TraceQuery::default()).await.unwrap();
    let trace_id = read[0].trace_id;
    let with_event = TraceQuery { actor_filter: Some(read[0].events[0].actor_id.clone()), ..TraceQuery::default() };
    assert_eq!(reader.query_traces(with_event).await.unwrap(), read);
    assert_eq!(reader.get_trace(trace_id).await.unwrap().as_ref(), Some(&read[0]));
    let streamed: Vec<_> = reader.stream_events(trace_id).try_collect().await.unwrap();
    assert_eq!(streamed, read[0].events);
    assert_eq!(reader.stats().await.unwrap().events, streamed.len() as u64);
    assert!(std::fs::read(&file).unwrap() == before);

    // A host that migrates the file meanwhile does not disturb the reader.
    let host = SqliteStorage::new(&file).await.unwrap();
    let mut newer = FlowTrace { events: vec![TraceEvent::default()], ..FlowTrace::default() };
    newer.more.insert("newer", 1.into());
    host.store_trace(newer.clone()).await.unwrap();
    assert_eq!(host.get_trace(trace_id).await.unwrap().as_ref(), Some(&read[0]));
    assert_eq!(reader.get_trace(newer.trace_id).await.unwrap(), Some(newer));
}

#[tokio::test]
async fn a_missing_store_is_an_error_and_stays_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none/traces.db");
    let error = SqliteStorage::with_config(to_read(&file)).await.err().expect("an error").to_string();
    assert!(error.contains("none/traces.db") && error.contains("reflow-tracing serve"), "{error}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    let error = SqliteStorage::with_config(to_read(folder.path())).await.err().expect("an error").to_string();
    assert!(error.contains("is a folder"), "{error}");
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    let error = SqliteStorage::with_config(to_read(&empty)).await.err().expect("an error").to_string();
    assert!(error.contains("empty.db is empty") && error.contains("reflow-tracing serve"), "{error}");
}

#[tokio::test]
async fn a_file_of_another_program_is_named_with_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = |name: &str, sql: &str| {
        let file = folder.path().join(name);
        Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        file
    };
    let reflow = foreign(
        "reflow's.db",
        "CREATE TABLE traces (trace_id, flow_id, execution_id, start_time, end_time, status, data);
         CREATE TABLE trace_events (trace_id, event_id, timestamp, event_type, actor_id, data)",
    );
    let plugin = include_str!("../../../plugins/relational/src/sqlite/schema.sql");
    let relational = foreign("relational.db", plugin);
    let others = foreign("others.db", "CREATE TABLE b (x); CREATE TABLE a (x); CREATE TABLE sqliteish (x)");
    let many = foreign("many.db", &(0..8).map(|n| format!("CREATE TABLE t{n} (x);")).collect::<String>());
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "These are notes, and not a database.\n").unwrap();
    let command = format!(r"`reflow-tracing migrate --from 'sqlite:{}/reflow'\''s.db' --to", folder.path().display());
    for (file, parts) in [
        (&reflow, &["Reflow's own tracing server", command.as_str()][..]),
        (
            &relational,
            &["`--store plugin:relational`", "grants = { sql = { default = \"sqlite:", "relational.db\" } }"],
        ),
        (&others, &["another program", r#"the tables "a", "b", "sqliteish""#]),
        (&many, &["another program", r#""t4" and 3 more"#]),
        (&text, &["notes.txt is not a SQLite database"]),
    ] {
        for message in refusals(file).await {
            assert!(parts.iter().all(|part| message.contains(part)), "{parts:?}: {message}");
        }
    }
    // The command is one that works.
    assert!(LegacySqlite::detect(&reflow).await.unwrap().is_some());
}
