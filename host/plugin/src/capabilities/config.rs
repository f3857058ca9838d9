//! `reflow:capabilities/config`: the plugin's own settings.

use std::collections::BTreeMap;

use crate::bindings::reflow::capabilities::config::Host;
use crate::instance::InstanceState;
use crate::policy::PluginConfig;

/// The settings of a plugin: by name, as JSON.
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(crate) fn new(config: &PluginConfig) -> Self {
        Self(config.config.iter().map(|(name, value)| (name.clone(), value.to_string())).collect())
    }
}

impl Host for InstanceState {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.granted.settings.0.get(&name).cloned())
    }

    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.granted.settings.0.keys().cloned().collect())
    }
}
