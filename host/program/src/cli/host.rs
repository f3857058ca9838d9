use anyhow::anyhow;

use super::config_file::ConfigFile;
use crate::client::HostUrl;

/// The running host of a subcommand: the configured one, or another one.
#[derive(clap::Args)]
pub(super) struct HostArgs {
    #[command(flatten)]
    config: ConfigFile,
    /// The address of the host [default: the configured host]
    #[arg(long, visible_alias = "url", value_name = "ws://HOST:PORT")]
    server: Option<HostUrl>,
}

impl HostArgs {
    pub(super) fn url(&self) -> anyhow::Result<HostUrl> {
        if let Some(url) = &self.server {
            return Ok(url.clone());
        }
        let server = self.config.load()?.server;
        HostUrl::configured(&server).map_err(|problem| anyhow!("{problem}; give the address of the host with --server"))
    }
}
