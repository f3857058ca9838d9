use chrono::DateTime;
use reflow_tracing_memory::MemoryStorage;
use reflow_tracing_model::{ExecutionStatus, FlowId, MessageSnapshot, SortOrder, TraceEventData, TraceEventType};
use reflow_tracing_sqlite::{JournalMode, SqliteConfig, SqliteStorage};
use reflow_tracing_storage::StorageBackendExt;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::*;
use crate::{Progress, StorageMigrator};

mod newer;

/// The tables of the first server.
const COLUMNS: &str = "
    CREATE TABLE IF NOT EXISTS traces (
        trace_id TEXT PRIMARY KEY, flow_id TEXT NOT NULL, execution_id TEXT NOT NULL,
        version_major INTEGER NOT NULL, version_minor INTEGER NOT NULL, version_patch INTEGER NOT NULL,
        version_git_hash TEXT, version_timestamp INTEGER NOT NULL, start_time INTEGER NOT NULL, end_time INTEGER,
        status TEXT NOT NULL, metadata TEXT NOT NULL, created_at INTEGER NOT NULL DEFAULT (strftime('%s', 'now'))
    );
    CREATE TABLE IF NOT EXISTS trace_events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trace_id TEXT NOT NULL, event_id TEXT NOT NULL,
        timestamp INTEGER NOT NULL, event_type TEXT NOT NULL, actor_id TEXT NOT NULL, data TEXT NOT NULL,
        causality TEXT NOT NULL, FOREIGN KEY (trace_id) REFERENCES traces (trace_id) ON DELETE CASCADE
    );
    CREATE INDEX IF NOT EXISTS idx_traces_start_time ON traces (start_time);
    CREATE INDEX IF NOT EXISTS idx_trace_events_trace_id ON trace_events (trace_id);";

/// The tables of the later servers.
const WHOLE: &str = "
    CREATE TABLE IF NOT EXISTS traces (
        trace_id TEXT PRIMARY KEY, flow_id TEXT NOT NULL, execution_id TEXT NOT NULL,
        version_major INTEGER NOT NULL, version_minor INTEGER NOT NULL, version_patch INTEGER NOT NULL,
        version_git_hash TEXT, version_timestamp INTEGER NOT NULL, start_time INTEGER NOT NULL, end_time INTEGER,
        status TEXT NOT NULL, metadata TEXT NOT NULL, data BLOB NOT NULL, compressed BOOLEAN NOT NULL DEFAULT FALSE,
        size_bytes INTEGER NOT NULL, created_at INTEGER NOT NULL DEFAULT (strftime('%s', 'now'))
    );
    CREATE TABLE IF NOT EXISTS trace_events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trace_id TEXT NOT NULL, event_id TEXT NOT NULL,
        timestamp INTEGER NOT NULL, event_type TEXT NOT NULL, actor_id TEXT NOT NULL, data TEXT NOT NULL,
        causality TEXT NOT NULL, compressed BOOLEAN NOT NULL DEFAULT FALSE,
        FOREIGN KEY (trace_id) REFERENCES traces (trace_id) ON DELETE CASCADE
    );";

struct Server {
    folder: tempfile::TempDir,
    connection: Connection,
}

impl Server {
    fn new(tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("old.db")).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        connection.execute_batch(tables).unwrap();
        Self { folder, connection }
    }

    /// Stores the columns that every server has, and others.
    fn store_row(&self, trace: &FlowTrace, others: &[(&str, Value)]) {
        let version = &trace.version;
        let mut row: Vec<(&str, Value)> = vec![
            ("trace_id", trace.trace_id.to_string().into()),
            ("flow_id", trace.flow_id.0.clone().into()),
            ("execution_id", trace.execution_id.to_string().into()),
            ("version_major", version.major.into()),
            ("version_minor", version.minor.into()),
            ("version_patch", version.patch.into()),
            ("version_git_hash", version.git_hash.clone().into()),
            ("version_timestamp", version.timestamp.timestamp().into()),
            ("start_time", trace.start_time.timestamp().into()),
            ("end_time", trace.end_time.map(|end| end.timestamp()).into()),
            ("status", json(&trace.status).into()),
            ("metadata", json(&trace.metadata).into()),
        ];
        row.extend_from_slice(others);
        let (columns, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
        let placeholders = vec!["?"; values.len()].join(", ");
        let sql = format!("INSERT OR REPLACE INTO traces ({}) VALUES ({placeholders})", columns.join(", "));
        self.connection.execute(&sql, params_from_iter(values)).unwrap();
    }

    /// Stores a trace like the first server.
    fn store_in_columns(&self, trace: &FlowTrace) {
        let id = trace.trace_id.to_string();
        self.store_row(trace, &[]);
        for event in &trace.events {
            self.store_event(&id, event);
        }
    }

    fn store_event(&self, trace_id: &str, event: &TraceEvent) {
        self.connection
            .execute(
                "INSERT INTO trace_events (trace_id, event_id, timestamp, event_type, actor_id, data, causality)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    trace_id,
                    event.event_id.to_string(),
                    event.timestamp.timestamp(),
                    json(&event.event_type),
                    event.actor_id,
                    json(&event.data),
                    json(&event.causality),
                ],
            )
            .unwrap();
    }

    /// Stores a trace like the later servers.
    fn store_whole(&self, trace: &FlowTrace) {
        let serialized = serde_json::to_vec(trace).unwrap();
        let compressed = serialized.len() > 1024;
        let data = if compressed { zstd::bulk::compress(&serialized, 3).unwrap() } else { serialized };
        let size = data.len() as i64;
        let others: [(&str, Value); 3] =
            [("data", data.into()), ("compressed", compressed.into()), ("size_bytes", size.into())];
        self.store_row(trace, &others);
    }

    fn execute(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    async fn open(&self) -> LegacySqlite {
        LegacySqlite::open(self.folder.path().join("old.db")).await.unwrap()
    }

    /// The migrated traces, and the problems with the others.
    async fn migrated(&self) -> (MemoryStorage, Vec<String>) {
        use std::sync::{Arc, Mutex};
        let (target, left_out) = (Arc::new(MemoryStorage::new()), Arc::new(Mutex::new(Vec::new())));
        let told = Arc::clone(&left_out);
        let on_progress = move |progress: &Progress| {
            if let Progress::Unreadable(what) = progress {
                told.lock().unwrap().push(what.clone());
            }
        };
        let options =
            crate::CopyOptions { verify: true, on_progress: Some(Arc::new(on_progress)), ..Default::default() };
        let migrator = StorageMigrator::shared(Arc::new(self.open().await), target.clone()).options(options);
        let report = migrator.migrate_all_traces().await.unwrap();
        drop(migrator);
        let left_out = left_out.lock().unwrap().clone();
        assert_eq!(report.unreadable, left_out.len() as u64);
        assert_eq!(report.is_complete(), left_out.is_empty(), "{report:?}");
        let verification = report.verification.unwrap();
        assert_eq!((verification.differing, verification.source.checksum), (0, verification.target.checksum));
        (Arc::into_inner(target).unwrap(), left_out)
    }
}

/// Copies a file in the state in which a program leaves it that is killed during a transaction.
fn killed_while_writing(connection: &Connection, from: &Path, to: &Path) {
    // More than fits in the cache, so SQLite writes to the file before the commit.
    connection
        .execute_batch(
            "PRAGMA cache_size = 1; BEGIN; PRAGMA application_id = 7;
             CREATE TABLE unfinished (x); INSERT INTO unfinished VALUES (zeroblob(1000000))",
        )
        .unwrap();
    for end in ["", "-journal"] {
        let part = |path: &Path| format!("{}{end}", path.display());
        assert!(std::fs::copy(part(from), part(to)).unwrap() > 0);
    }
    connection.execute_batch("ROLLBACK").unwrap();
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// A trace that started this many milliseconds after a time in the past, with events a millisecond apart.
fn trace(number: i64, events: usize) -> FlowTrace {
    let start = 1_700_000_000_000 + number;
    let at = |millis: i64| DateTime::from_timestamp_millis(start + millis).unwrap();
    let event = |index: usize| TraceEvent {
        timestamp: at(index as i64),
        event_type: TraceEventType::DataFlow { to_actor: format!("to {index}"), to_port: "In".into() },
        actor_id: format!("actor {index}"),
        data: TraceEventData {
            message: Some(MessageSnapshot { serialized_data: (0..=255).collect(), ..MessageSnapshot::default() }),
            ..TraceEventData::default()
        },
        ..TraceEvent::default()
    };
    let mut trace = FlowTrace {
        flow_id: FlowId::new(format!("flow {}", number % 3)),
        start_time: at(0),
        end_time: Some(at(900)),
        status: ExecutionStatus::Failed { error: "disk\0full".into() },
        events: (0..events).map(event).collect(),
        ..FlowTrace::default()
    };
    trace.metadata.tags.insert("team".into(), "tracing".into());
    trace
}

/// The trace as the columns preserve it: times in whole seconds, and the order of events.
fn to_the_second(mut trace: FlowTrace) -> FlowTrace {
    let second = |time: DateTime<chrono::Utc>| DateTime::from_timestamp(time.timestamp(), 0).unwrap();
    trace.start_time = second(trace.start_time);
    trace.end_time = trace.end_time.map(second);
    trace.version.timestamp = second(trace.version.timestamp);
    let mut last = (DateTime::UNIX_EPOCH, 0);
    for event in &mut trace.events {
        let time = second(event.timestamp);
        last = (time, if last.0 == time { last.1 + 1 } else { 0 });
        event.timestamp = time + chrono::TimeDelta::nanoseconds(last.1);
    }
    trace
}

async fn assert_holds(storage: &MemoryStorage, expected: &[FlowTrace]) {
    assert_eq!(storage.stats().await.unwrap().traces, expected.len() as u64);
    for trace in expected {
        assert_eq!(storage.get_trace(trace.trace_id).await.unwrap().as_ref(), Some(trace));
    }
}

#[tokio::test]
async fn whole_traces_are_migrated_unchanged() {
    let server = Server::new(WHOLE);
    // Several per second, long and short, in no order; the last one twice.
    let traces: Vec<_> = (0..60).map(|number| trace((number * 37 % 60) * 250, number as usize % 4)).collect();
    traces.iter().chain(traces.last()).for_each(|trace| server.store_whole(trace));
    let (storage, left_out) = server.migrated().await;
    assert_eq!(left_out, [""; 0]);
    assert_holds(&storage, &traces).await;
}

#[tokio::test]
async fn traces_in_columns_are_migrated_with_their_events_in_order() {
    let server = Server::new(COLUMNS);
    let traces: Vec<_> = (0..60).map(|number| trace((number * 37 % 60) * 250, number as usize * 40 % 70)).collect();
    // Stored again, a trace has its events twice.
    traces.iter().chain(&traces[..9]).for_each(|trace| server.store_in_columns(trace));
    let (storage, left_out) = server.migrated().await;
    assert_eq!(left_out, [""; 0]);
    let expected: Vec<_> = traces.into_iter().map(to_the_second).collect();
    assert_holds(&storage, &expected).await;
}

#[tokio::test]
async fn separate_and_headerless_events_are_migrated() {
    let server = Server::new(WHOLE);
    let (whole, orphan) = (trace(0, 2), TraceId::new());
    server.store_whole(&whole);
    let further = to_the_second(trace(5_000, 1)).events;
    server.store_event(&whole.trace_id.to_string(), &whole.events[0]);
    server.store_event(&whole.trace_id.to_string(), &further[0]);
    server.store_event(&orphan.to_string(), &further[0]);
    let (storage, left_out) = server.migrated().await;
    assert_eq!(left_out, [""; 0]);
    let expected = FlowTrace { events: [whole.events.clone(), further.clone()].concat(), ..whole };
    assert_holds(&storage, &[expected]).await;
    assert_eq!(storage.get_events(orphan).await.unwrap(), further);
}

#[tokio::test]
async fn undecodable_rows_are_reported_and_the_rest_is_read() {
    let server = Server::new(WHOLE);
    let traces: Vec<_> = (0..6).map(|number| trace(number, 3)).collect();
    traces.iter().for_each(|trace| server.store_whole(trace));
    server.execute(
        "UPDATE traces SET data = substr(data, 1, length(data) - 20) WHERE rowid = 2;
         UPDATE traces SET data = '{\"trace_id\": 1}' WHERE rowid = 3;
         UPDATE traces SET trace_id = 'nobody' WHERE rowid = 4;
         UPDATE traces SET start_time = 'soon' WHERE rowid = 5",
    );
    server.store_event("nowhere", &traces[0].events[0]);
    let (storage, left_out) = server.migrated().await;
    for (row, part) in [("traces, row 2", "decompressed"), ("traces, row 3", "data"), ("traces, row 4", "trace_id")] {
        assert!(left_out.iter().any(|what| what.starts_with(row) && what.contains(part)), "{row}: {left_out:?}");
    }
    assert!(left_out.iter().any(|what| what.contains("nowhere")), "{left_out:?}");
    assert_eq!(left_out.len(), 4);
    // The column is for searching; what counts is in the data.
    assert_holds(&storage, &[traces[0].clone(), traces[4].clone(), traces[5].clone()]).await;

    let server = Server::new(COLUMNS);
    traces.iter().for_each(|trace| server.store_in_columns(trace));
    server.execute(
        "UPDATE traces SET status = 'Done' WHERE rowid = 2;
         UPDATE trace_events SET data = '{' WHERE rowid = 2;
         UPDATE trace_events SET event_id = 'x' WHERE rowid = 7",
    );
    let (storage, left_out) = server.migrated().await;
    for part in ["traces, row 2", "trace_events, row 2 ", "trace_events, row 7 (event x)"] {
        assert!(left_out.iter().any(|what| what.contains(part)), "{part}: {left_out:?}");
    }
    assert_eq!(left_out.len(), 3);
    assert_eq!(storage.get_events(traces[0].trace_id).await.unwrap().len(), 2);
    assert!(storage.get_trace(traces[1].trace_id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_is_queried_like_other_stores_and_never_written() {
    for (tables, is_whole) in [(WHOLE, true), (COLUMNS, false)] {
        let server = Server::new(tables);
        let mut traces: Vec<_> = (0..30).map(|number| trace(number * 400, 2)).collect();
        for trace in &mut traces {
            if is_whole {
                server.store_whole(trace);
            } else {
                server.store_in_columns(trace);
                *trace = to_the_second(trace.clone());
            }
        }
        traces.sort_by_key(|trace| (trace.start_time, trace.trace_id));
        let before = std::fs::read(server.folder.path().join("old.db")).unwrap();
        let storage = server.open().await;
        let query = |limit| TraceQuery { limit: Some(limit), order: SortOrder::OldestFirst, ..TraceQuery::default() };
        let mut paged = Vec::new();
        let mut next = query(7);
        loop {
            let page = storage.query_page(next.clone().into()).await.unwrap();
            paged.extend(page.traces);
            match page.next_page_token {
                Some(token) => next.page_token = Some(token),
                None => break,
            }
        }
        assert_eq!(paged, traces);
        let headers: Vec<_> = traces.iter().map(|trace| FlowTrace { events: Vec::new(), ..trace.clone() }).collect();
        let actor = TraceQuery { actor_filter: Some("actor 1".into()), offset: Some(2), ..query(3) };
        for (request, expected, more) in [
            (query(7), &headers[..7], true),
            (actor, &headers[2..5], true),
            (query(100), &headers[..], false),
            (query(0), &[], false),
        ] {
            let request = PageRequest { total: true, ..PageRequest::headers(request) };
            let page = storage.query_page(request).await.unwrap();
            assert_eq!((&page.traces[..], page.next_page_token.is_some(), page.total), (expected, more, Some(30)));
        }
        let newest_first = TraceQuery { limit: Some(17), ..TraceQuery::default() };
        let page = storage.query_headers(newest_first.clone()).await.unwrap();
        let rest = TraceQuery { page_token: page.next_page_token, ..newest_first };
        let rest = storage.query_headers(rest).await.unwrap();
        let mut expected = headers;
        expected.sort_by_key(|trace| (std::cmp::Reverse(trace.start_time), trace.trace_id));
        assert_eq!(([page.traces, rest.traces].concat(), rest.next_page_token), (expected, None));
        let of_flow = TraceQuery { flow_id: Some(FlowId::new("flow 1")), ..query(100) };
        let expected: Vec<_> = traces.iter().filter(|trace| trace.flow_id.0 == "flow 1").cloned().collect();
        assert!(!expected.is_empty());
        assert_eq!(storage.query_traces(of_flow.clone()).await.unwrap(), expected);
        assert_eq!(storage.count_traces(of_flow).await.unwrap(), expected.len() as u64);
        let nobody = TraceQuery { actor_filter: Some("nobody".into()), ..query(100) };
        assert_eq!(storage.query_traces(nobody).await.unwrap(), []);
        assert_eq!(storage.get_trace(traces[3].trace_id).await.unwrap().as_ref(), Some(&traces[3]));
        let error = storage.store_trace(traces[0].clone()).await.unwrap_err();
        assert!(matches!(error, StorageError::Unsupported(_)) && error.to_string().contains("migrate"), "{error}");
        assert!(std::fs::read(server.folder.path().join("old.db")).unwrap() == before);
    }
}

#[tokio::test]
async fn files_of_other_programs_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.db");
    SqliteStorage::new(&ours).await.unwrap().close().await.unwrap();
    assert!(LegacySqlite::detect(&ours).await.unwrap().is_none());
    assert!(LegacySqlite::detect(folder.path().join("none.db")).await.unwrap().is_none());
    let others = folder.path().join("others.db");
    Connection::open(&others).unwrap().execute_batch("CREATE TABLE traces (trace_id, data)").unwrap();
    assert!(LegacySqlite::detect(&others).await.unwrap().is_none());
    let error = LegacySqlite::open(&others).await.unwrap_err().to_string();
    assert!(error.contains("others.db"), "{error}");
    assert!(!folder.path().join("none.db").exists());
}

#[tokio::test]
async fn a_file_of_a_killed_writer_holds_the_committed_traces() {
    let server = Server::new(WHOLE);
    let stored = FlowTrace::new(FlowId::new("committed"), Default::default());
    server.store_whole(&stored);
    let left = server.folder.path().join("left.db");
    killed_while_writing(&server.connection, &server.folder.path().join("old.db"), &left);
    let storage = LegacySqlite::open(&left).await.unwrap();
    assert_eq!(storage.query_traces(TraceQuery::default()).await.unwrap(), [stored]);

    let ours = server.folder.path().join("ours.db");
    let config = SqliteConfig {
        database_path: ours.to_str().unwrap().into(),
        journal_mode: JournalMode::Delete,
        ..SqliteConfig::default()
    };
    SqliteStorage::with_config(config).await.unwrap().close().await.unwrap();
    let left = server.folder.path().join("ours_left.db");
    killed_while_writing(&Connection::open(&ours).unwrap(), &ours, &left);
    assert!(LegacySqlite::detect(&left).await.unwrap().is_none());
}
