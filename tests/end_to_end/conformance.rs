//! The suite that every backend passes, over plugins.

use reflow_tracing::plugin::{Grants, PluginBackend, PluginConfig};
use reflow_tracing::storage::StorageError;
use reflow_tracing::storage::conformance::{self, Subject};
use reflow_tracing_tests::plugin;

async fn relational() -> Result<Subject, StorageError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = format!("sqlite:{}", folder.path().join("traces.db").display());
    let config =
        PluginConfig { grants: Grants { sql: [("default".into(), database)].into() }, ..PluginConfig::default() };
    let backend = PluginBackend::load("relational", &plugin("relational"), &config).await?;
    Ok(Subject::new(backend).keeping(folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relational_plugin_keeps_the_contract() {
    conformance::run(relational).await.assert_passed();
}
