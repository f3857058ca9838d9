//! Components for earlier versions of the contract load and work as before.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use reflow_tracing::plugin::PluginBackend;
use reflow_tracing::plugin::{Grants, Limits, PluginComponent, PluginConfig, RedisGrant, inspect};
use reflow_tracing::storage::conformance::{self, Subject};
use reflow_tracing_tests::root;
use reflow_tracing_tests::servers::RedisServer;

/// The components of the version.
fn golden(version: &str) -> Vec<PathBuf> {
    let folder = root().join("tests/golden").join(version);
    let entries = fs::read_dir(folder).expect("it is part of the project");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn golden_components_import_only_what_still_exists() {
    let files = golden("0.1");
    let mut capabilities = BTreeSet::new();
    for file in &files {
        let inspection = inspect(file).expect("it was one");
        assert_eq!(inspection.problems, [], "{}", file.display());
        assert!(inspection.contract.expect("it exports a backend").starts_with("0.1."), "{}", file.display());
        capabilities.extend(inspection.capabilities);
    }
    for capability in ["config", "http", "keyvalue", "log", "metrics", "redis", "render", "secrets", "sql"] {
        assert!(capabilities.contains(capability), "none of {files:?} uses `{capability}`: {capabilities:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_components_are_linked() {
    for file in golden("0.1") {
        PluginComponent::load("golden", &file, &PluginConfig::default())
            .await
            .expect("this host has all that it imports");
    }
}

fn config(grants: Grants) -> PluginConfig {
    // Generous: a busy machine must not fail the test.
    let limits = Limits { call_timeout_ms: 60_000, ..Limits::default() };
    PluginConfig { grants, limits, ..PluginConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_golden_component_on_sql_keeps_the_contract() {
    let file = root().join("tests/golden/0.1/relational.wasm");
    let component = PluginComponent::load("golden", &file, &PluginConfig::default()).await.expect("it loads");
    let open = || async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = format!("sqlite:{}", folder.path().join("traces.db").display());
        let grants = Grants { sql: [("default".into(), database)].into(), ..Grants::default() };
        let backend = PluginBackend::open("golden", component.clone(), &config(grants)).await?;
        Ok(Subject::new(backend).keeping(folder))
    };
    conformance::run(open).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_golden_component_on_redis_keeps_the_contract() {
    let file = root().join("tests/golden/0.1/redis.wasm");
    let component = PluginComponent::load("golden", &file, &PluginConfig::default()).await.expect("it loads");
    let server = &RedisServer::start();
    let open = || async {
        // Each store has its own prefix.
        let prefix = format!("{}:", uuid::Uuid::new_v4());
        let grant = RedisGrant { url: server.url(), prefix, ..RedisGrant::default() };
        let grants = Grants { redis: [("default".into(), grant)].into(), ..Grants::default() };
        Ok(Subject::new(PluginBackend::open("golden", component.clone(), &config(grants)).await?))
    };
    conformance::run(open).await.assert_passed();
}
