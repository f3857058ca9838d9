//! What a plugin was granted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reflow_tracing_sqlite::disk::check_room;
use reflow_tracing_sqlite::pool::blocking;
use reflow_tracing_storage::StorageError;

use super::connections::ConnectionBudget;
use super::{http, keyvalue, log, metrics, redis, secrets, sql};
use crate::policy::PluginConfig;

/// The granted resources of a plugin. All its instances share them.
pub(crate) struct Granted {
    pub sql: sql::Databases,
    pub keyvalue: keyvalue::Buckets,
    pub http: http::Origins,
    /// The plugin's own settings: by name, as JSON.
    pub settings: BTreeMap<String, String>,
    pub secrets: secrets::Secrets,
    pub metrics: Arc<metrics::PluginMetrics>,
    pub log: Arc<log::PluginLog>,
    pub connections: ConnectionBudget,
    pub redis: redis::Servers,
}

impl Granted {
    /// The resources that `config` grants to `plugin`. Does not connect yet. Fails on an invalid grant.
    pub(crate) fn new(
        plugin: &str,
        config: &PluginConfig,
        connections: &ConnectionBudget,
    ) -> Result<Self, StorageError> {
        let log = Arc::new(log::PluginLog::new(plugin));
        Ok(Self {
            sql: sql::Databases::new(plugin, config, connections)?,
            redis: redis::Servers::new(plugin, config, connections)?,
            keyvalue: keyvalue::Buckets::new(plugin, config, connections, &log)?,
            http: http::Origins::new(plugin, &config.grants)?,
            settings: config.config.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
            secrets: secrets::Secrets::new(plugin, &config.grants, &log)?,
            metrics: Arc::new(metrics::PluginMetrics::new(&log)),
            log,
            connections: connections.clone(),
        })
    }

    /// Checks that the disks of the granted files have room for a write.
    pub(crate) async fn check_room(&self) -> Result<(), StorageError> {
        let files: Vec<_> = self.sql.files().chain(self.keyvalue.files()).map(Path::to_owned).collect();
        if files.is_empty() {
            return Ok(());
        }
        blocking(move || files.iter().try_for_each(|file| check_room(file))).await
    }
}
