use std::path::PathBuf;

use crate::config::{Config, Loaded};

/// The option that every subcommand with a configuration has.
#[derive(clap::Args)]
pub(super) struct ConfigFile {
    /// The configuration file [default: the first that exists of reflow_tracing.toml, config/reflow_tracing.toml and /etc/reflow/tracing.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        let Loaded { config, source, warnings } = Config::load(self.config.as_deref())?;
        tracing::debug!("the configuration is {source}");
        warnings.iter().for_each(|warning| tracing::debug!("{warning}"));
        Ok(config)
    }

    /// The same for a host, which logs where the configuration comes from, and its warnings.
    pub(super) fn load_for_host(&self) -> anyhow::Result<Config> {
        let Loaded { config, source, warnings } = Config::load(self.config.as_deref())?;
        tracing::info!("the configuration is {source}");
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(config)
    }
}
