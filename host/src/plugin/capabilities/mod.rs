//! What a plugin can reach: one folder or file for each interface of `wit/capabilities/`.
//!
//! A new capability is a file here that implements the interface for [`InstanceState`](super::instance::InstanceState),
//! its grants in [`policy`](super::policy), what stands behind them in [`Granted`], and the interface in the world of
//! `wit/capabilities/world.wit`.

mod connections;
mod log;
pub mod sql;

pub(crate) use connections::{ConnectionBudget, ConnectionPermit, TooManyConnections};

use super::policy::PluginConfig;
use crate::storage::StorageError;

/// What a plugin was granted, ready for use. All of its instances share it.
pub(crate) struct Granted {
    pub sql: sql::Databases,
}

impl Granted {
    /// What `config` grants to `plugin`. Connects to nothing yet. Fails on a grant that makes no sense.
    pub(crate) fn new(
        plugin: &str,
        config: &PluginConfig,
        connections: &ConnectionBudget,
    ) -> Result<Self, StorageError> {
        Ok(Self { sql: sql::Databases::new(plugin, config, connections)? })
    }
}
