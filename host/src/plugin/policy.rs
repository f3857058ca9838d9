//! What the operator says of a plugin: where it is, what it may reach, how much it may use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// A plugin as the configuration describes it: the table `[plugins.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginConfig {
    /// The component. By default `NAME.wasm` in the plugins folder.
    pub file: Option<PathBuf>,
    /// What it may reach.
    pub grants: Grants,
    /// What it is given when it is opened, as JSON.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// How much it may use.
    pub limits: Limits,
    /// The SHA-256 that the file must have, in hexadecimal.
    pub sha256: Option<String>,
}

/// What a plugin may reach, by capability and label. It may reach nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// SQL databases: label to URL. `sqlite:PATH` is a SQLite file, which is created with its folder when it is missing.
    pub sql: BTreeMap<String, String>,
}

/// How much a plugin may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of an instance, in MiB.
    pub memory_mb: u32,
    /// The time that a call may take, waiting included, in milliseconds.
    pub call_timeout_ms: u64,
    /// Instances that work at the same time.
    pub instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_mb: 128, call_timeout_ms: 5_000, instances: 4 }
    }
}

impl Limits {
    pub(crate) fn memory_bytes(&self) -> usize {
        usize::try_from(self.memory_mb).unwrap_or(usize::MAX).saturating_mul(1024 * 1024)
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }
}
