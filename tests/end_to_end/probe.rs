//! The plugin `probe`, which uses a capability as requested.

use reflow_tracing::plugin::{PluginBackend, PluginConfig};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{FlowId, TraceQuery};
use reflow_tracing_tests::test_plugin;

pub struct Probe {
    pub backend: PluginBackend,
}

impl Probe {
    pub async fn load(config: PluginConfig) -> Self {
        Self { backend: PluginBackend::load("probe", &test_plugin("probe"), &config).await.expect("it loads") }
    }

    /// The outcome of using a capability.
    pub async fn ask(&self, what: &str, arguments: &[(&str, &str)]) -> String {
        match self.try_ask(what, arguments).await {
            StorageError::NotFound(answer) => {
                answer.strip_prefix("plugin `probe`: ").expect("the plugin is named").to_owned()
            }
            error => panic!("`{what}`: {error}"),
        }
    }

    /// The same, when it ends in another way.
    pub async fn try_ask(&self, what: &str, arguments: &[(&str, &str)]) -> StorageError {
        let tags = arguments.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let query = TraceQuery { flow_id: Some(FlowId::new(what)), tags, ..TraceQuery::default() };
        self.backend.query_traces(query).await.expect_err("it answers with an error")
    }
}
