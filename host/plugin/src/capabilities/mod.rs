//! What a plugin can reach: one folder or file for each interface of `wit/capabilities/`.
//!
//! A new capability is a file here that implements the interface for [`InstanceState`](super::instance::InstanceState),
//! its grants in [`policy`](super::policy), what stands behind them in [`Granted`], and the interface in the world of
//! `wit/capabilities/world.wit`.

mod config;
mod connections;
pub(crate) mod http;
pub mod keyvalue;
mod log;
pub mod metrics;
pub mod redis;
mod secrets;
pub mod sql;
mod tls;

use std::path::Path;
use std::sync::Arc;

pub(crate) use connections::{ConnectionBudget, ConnectionPermit, TooManyConnections};

use reflow_tracing_storage::StorageError;

use super::policy::PluginConfig;
use reflow_tracing_sqlite::disk::check_room;
use reflow_tracing_sqlite::pool::blocking;

/// What a plugin was granted, ready for use. All of its instances share it.
pub(crate) struct Granted {
    pub sql: sql::Databases,
    pub keyvalue: keyvalue::Buckets,
    pub http: http::Origins,
    pub settings: config::Settings,
    pub secrets: secrets::Secrets,
    pub metrics: Arc<metrics::PluginMetrics>,
    pub log: Arc<log::PluginLog>,
    pub connections: ConnectionBudget,
    pub redis: redis::Servers,
}

impl Granted {
    /// What `config` grants to `plugin`. Connects to nothing yet. Fails on a grant that makes no sense.
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
            settings: config::Settings::new(config),
            secrets: secrets::Secrets::new(plugin, &config.grants, &log)?,
            metrics: Arc::new(metrics::PluginMetrics::new(&log)),
            log,
            connections: connections.clone(),
        })
    }

    /// Whether the disks of the files that were granted have room for a write.
    pub(crate) async fn check_room(&self) -> Result<(), StorageError> {
        let files: Vec<_> = self.sql.files().chain(self.keyvalue.files()).map(Path::to_owned).collect();
        if files.is_empty() {
            return Ok(());
        }
        blocking(move || files.iter().try_for_each(|file| check_room(file))).await
    }
}
