//! Databases of other versions of the plugin `relational`.

use std::path::Path;

use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginConfig};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceQuery};
use reflow_tracing_tests::{plugin, root};
use rusqlite::Connection;

async fn load(component: &Path, database: &Path) -> Result<PluginBackend, StorageError> {
    let grants =
        Grants { sql: [("default".into(), format!("sqlite:{}", database.display()))].into(), ..Grants::default() };
    // Generous: a busy machine must not fail the test.
    let limits = Limits { call_timeout_ms: 60_000, ..Limits::default() };
    PluginBackend::load("relational", component, &PluginConfig { grants, limits, ..PluginConfig::default() }).await
}

/// The tables of a file and what is in them.
fn content(database: &Path) -> Vec<(String, i64)> {
    let file = Connection::open(database).expect("a database");
    let mut tables = file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").expect("SQL");
    let names: Vec<String> =
        tables.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names");
    let count = |name: &String| file.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0));
    names.iter().map(|name| (name.clone(), count(name).expect("a number"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_tables_are_refused_and_not_changed() {
    // The layout before versions were numbered, and that of a later version.
    let by_id = "CREATE TABLE trace (trace_id BLOB NOT NULL PRIMARY KEY, body BLOB NOT NULL);
        CREATE TABLE tag (trace_id BLOB NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL);
        CREATE TABLE event (trace_id BLOB NOT NULL, timestamp INTEGER NOT NULL, event_id BLOB NOT NULL, body BLOB NOT NULL);
        INSERT INTO event VALUES (zeroblob(16), 0, zeroblob(16), zeroblob(1));";
    let tags_by_number = "CREATE TABLE trace (seq INTEGER PRIMARY KEY, trace_id BLOB NOT NULL UNIQUE, body BLOB);
        CREATE TABLE tag (trace INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL);
        CREATE TABLE event (trace INTEGER NOT NULL, timestamp INTEGER NOT NULL, event_id BLOB NOT NULL, body BLOB NOT NULL);
        INSERT INTO trace VALUES (1, zeroblob(16), NULL);";
    let later = "CREATE TABLE layout (version INTEGER PRIMARY KEY); INSERT INTO layout VALUES (1), (7);";
    for (made, found) in [(by_id, "before layout 1"), (tags_by_number, "before layout 1"), (later, "layout 7")] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = folder.path().join("traces.db");
        Connection::open(&database).and_then(|file| file.execute_batch(made)).expect("SQL");
        let before = content(&database);
        let error = load(&plugin("relational"), &database).await.err().expect("it does not open");
        let message = error.to_string();
        for part in ["`relational`", found, "has layout 1", "another database"] {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
        assert_eq!(content(&database), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_a_version_number_are_upgraded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = folder.path().join("traces.db");
    let stored = FlowTrace {
        events: vec![TraceEvent::default()],
        ..FlowTrace::new(FlowId::new("kept"), FlowVersion::default())
    };
    let earlier = load(&root().join("tests/golden/0.1/relational.wasm"), &database).await.expect("it opens");
    earlier.store_trace(stored.clone()).await.expect("stored");
    earlier.close().await.expect("it closes");
    assert!(!content(&database).iter().any(|(table, _)| table == "layout"));
    let now = load(&plugin("relational"), &database).await.expect("it opens");
    assert!(now.query_traces(TraceQuery::default()).await.expect("it answers") == [stored]);
    assert!(content(&database).contains(&("layout".into(), 1)));
}
