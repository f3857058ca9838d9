//! The conformance suite, on plugins.

use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginComponent, PluginConfig};
use reflow_tracing::storage::conformance::{self, Subject};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{EventId, FlowId, FlowTrace, FlowVersion, MessageSnapshot, TraceEvent};
use reflow_tracing_tests::plugin;
use reflow_tracing_tests::servers::{MariaDb, Postgres};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Compiled once: each case has its own store, and in a debug build the compiler takes longer than most cases.
async fn component() -> Result<PluginComponent, StorageError> {
    static COMPONENT: OnceCell<PluginComponent> = OnceCell::const_new();
    let compiled = COMPONENT.get_or_try_init(|| async {
        let file = plugin("relational");
        PluginComponent::load("relational", &file, &PluginConfig::default()).await
    });
    compiled.await.cloned()
}

async fn open_on(database: String) -> Result<PluginBackend, StorageError> {
    let config = PluginConfig {
        grants: Grants { sql: [("default".into(), database)].into(), ..Grants::default() },
        // Generous: a busy machine must not fail the test.
        limits: Limits { call_timeout_ms: 60_000, ..Limits::default() },
        ..PluginConfig::default()
    };
    PluginBackend::open("relational", component().await?, &config).await
}

async fn open() -> Result<(PluginBackend, TempDir), StorageError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = format!("sqlite:{}", folder.path().join("traces.db").display());
    Ok((open_on(database).await?, folder))
}

async fn relational() -> Result<Subject, StorageError> {
    let (backend, folder) = open().await?;
    Ok(Subject::new(backend).keeping(folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relational_plugin_keeps_the_contract() {
    conformance::run(relational).await.assert_passed();
}

#[test]
fn the_relational_plugin_answers_like_the_oracle() {
    conformance::check_generated(64, relational).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relational_plugin_keeps_the_contract_on_postgresql() {
    let server = &Postgres::shared();
    conformance::run(|| async { Ok(Subject::new(open_on(server.database()).await?)) }).await.assert_passed();
}

#[test]
fn the_relational_plugin_on_postgresql_answers_like_the_oracle() {
    let server = &Postgres::shared();
    conformance::check_generated(64, || async { Ok(Subject::new(open_on(server.database()).await?)) }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relational_plugin_keeps_the_contract_on_mariadb() {
    let server = &MariaDb::shared();
    conformance::run(|| async { Ok(Subject::new(open_on(server.database()).await?)) }).await.assert_passed();
}

#[test]
fn the_relational_plugin_on_mariadb_answers_like_the_oracle() {
    let server = &MariaDb::shared();
    conformance::check_generated(64, || async { Ok(Subject::new(open_on(server.database()).await?)) }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_larger_than_an_answer_is_read_in_parts() {
    let (storage, _folder) = open().await.expect("it opens");
    let mut trace = FlowTrace::new(FlowId::new("large"), FlowVersion::default());
    trace.events = (0..70)
        .map(|number| {
            let mut event = TraceEvent { actor_id: format!("actor {number:03}"), ..TraceEvent::default() };
            event.data.message =
                Some(MessageSnapshot { serialized_data: vec![number as u8; 1024 * 1024], ..Default::default() });
            event.event_id = EventId(uuid::Uuid::from_u128(number));
            event
        })
        .collect();
    storage.store_trace(trace.clone()).await.expect("it is stored");
    assert!(storage.get_trace(trace.trace_id).await.expect("it is read") == Some(trace));
}
