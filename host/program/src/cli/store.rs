//! The store of a subcommand.

use std::sync::Arc;

use anyhow::{anyhow, bail};

use super::config_file::ConfigFile;
use crate::client::HostUrl;
use crate::config::{Config, StorageUrl, open_storage, open_storage_to_read};
use reflow_tracing::migration::LegacySqlite;
use reflow_tracing::storage::StorageBackend;

/// The configured store, or another one.
#[derive(clap::Args)]
pub(super) struct Store {
    #[command(flatten)]
    config: ConfigFile,
    /// The store: sqlite:PATH, postgresql://USER@HOST/DATABASE, clickhouse://USER@HOST:PORT/DATABASE or plugin:NAME [default: the configured store]
    #[arg(long, value_name = "URL")]
    store: Option<StorageUrl>,
}

impl Store {
    /// Opens it for reading, while a host may use it.
    pub(super) async fn open(&self) -> anyhow::Result<Arc<dyn StorageBackend>> {
        let (url, config) = self.describe()?;
        open_source(&config, &url).await
    }

    /// Its URL, and the configuration with its settings.
    pub(super) fn describe(&self) -> anyhow::Result<(StorageUrl, Config)> {
        let config = self.config.load()?;
        let url = self.store.clone().map_or_else(|| StorageUrl::configured(&config), |url| url.complete(&config));
        Ok((url, config))
    }
}

/// The store of the backend `memory` can't be opened.
fn memory(config: &Config) -> anyhow::Error {
    let url = HostUrl::configured(&config.server).map_or_else(|_| "ws://HOST:PORT".into(), |url| url.to_string());
    anyhow!(
        "the backend `memory` keeps its traces in the memory of the host process only. To read them, ask the running host: \
         `query`, `get` and `export` take `--server {url}`"
    )
}

/// Opens a store for reading: nothing is created or written. Fails when the store does not exist.
pub(super) async fn open_source(config: &Config, url: &StorageUrl) -> anyhow::Result<Arc<dyn StorageBackend>> {
    let url = url.clone().complete(config);
    match &url {
        StorageUrl::Memory => return Err(memory(config)),
        StorageUrl::Sqlite(Some(path)) => {
            if let Some(legacy) = LegacySqlite::detect(path).await? {
                tracing::info!("{path} was written by Reflow's own tracing server; reading its format");
                return Ok(Arc::new(legacy));
            }
        }
        _ => {}
    }
    Ok(open_storage_to_read(url.choose(config.clone())).await?)
}

/// Opens a store to delete from it. Fails, and creates nothing, when it does not exist.
pub(super) async fn open_existing(config: &Config, url: &StorageUrl) -> anyhow::Result<Arc<dyn StorageBackend>> {
    // Reading fails when nothing is there.
    open_source(config, url).await?.close().await?;
    open_target(config, url).await
}

/// Opens a store for writing.
pub(super) async fn open_target(config: &Config, url: &StorageUrl) -> anyhow::Result<Arc<dyn StorageBackend>> {
    let url = url.clone().complete(config);
    match &url {
        StorageUrl::Memory => {
            tracing::warn!("`memory:` is discarded when this command ends: nothing is kept");
        }
        StorageUrl::Sqlite(Some(path)) if LegacySqlite::detect(path).await?.is_some() => {
            bail!("{path} was written by Reflow's own tracing server and can only be read; write into another file")
        }
        _ => {}
    }
    Ok(open_storage(&url.choose(config.clone())).await?)
}
