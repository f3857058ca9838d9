use std::path::PathBuf;

use crate::config::Config;

/// The option that every subcommand with a configuration has.
#[derive(clap::Args)]
pub(super) struct ConfigFile {
    /// The configuration file [default: reflow_tracing.toml in the working folder, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(self.config.as_deref())?)
    }
}
