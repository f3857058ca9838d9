//! The capabilities of plugins: one folder or file for each interface of `wit/capabilities/`.
//!
//! To add a capability:
//!
//! 1. Add its interface to the world in `wit/capabilities/world.wit`.
//! 2. Implement the interface for [`InstanceState`](super::instance::InstanceState) in a new file here.
//! 3. Add its grants to [`policy`](super::policy), and the granted resources to [`Granted`].

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

/// The granted resources of a plugin. All its instances share them.
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
            settings: config::Settings::new(config),
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
