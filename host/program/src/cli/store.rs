//! The store that a subcommand works on.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;

use super::ConfigFile;
use crate::config::{Config, StorageUrl, open_storage};
use reflow_tracing::migration::LegacySqlite;
use reflow_tracing::storage::StorageBackend;

/// The configured store, or another one.
#[derive(clap::Args)]
pub(super) struct Store {
    #[command(flatten)]
    config: ConfigFile,
    /// The store: sqlite:PATH, postgresql://USER@HOST/DATABASE, clickhouse://USER@HOST:PORT/DATABASE or plugin:NAME [default: the one that the configuration names]
    #[arg(long, value_name = "URL")]
    store: Option<StorageUrl>,
}

impl Store {
    /// Opens it from beside the host, to read it.
    pub(super) async fn open(&self) -> anyhow::Result<Arc<dyn StorageBackend>> {
        let config = self.config.load()?;
        match &self.store {
            Some(url) => open_source(&config, url).await,
            None if config.storage.backend == "memory" => bail!(MEMORY),
            None => Ok(open_storage(&config).await?.backend),
        }
    }

    /// Its name, and the configuration that describes it.
    pub(super) fn describe(self) -> anyhow::Result<(StorageUrl, Config)> {
        let config = self.config.load()?;
        let url = self.store.map_or_else(|| StorageUrl::configured(&config), |url| url.complete(&config));
        Ok((url, config))
    }
}

const MEMORY: &str = "the backend `memory` has its traces in the memory of the host process only. Configure another backend, \
                      for example `sqlite`, to look at traces from here";

/// Opens a store to read it. One that is not there is an error, not a new store.
pub(super) async fn open_source(config: &Config, url: &StorageUrl) -> anyhow::Result<Arc<dyn StorageBackend>> {
    let url = url.clone().complete(config);
    match &url {
        StorageUrl::Memory => bail!(MEMORY),
        StorageUrl::Sqlite(Some(path)) if !Path::new(path).is_file() => bail!("there is no file {path}"),
        StorageUrl::Sqlite(Some(path)) => {
            if let Some(legacy) = LegacySqlite::detect(path).await? {
                tracing::info!("{path} was written by an older Reflow tracing server; it is read as it is");
                return Ok(Arc::new(legacy));
            }
        }
        _ => {}
    }
    Ok(open_storage(&url.choose(config.clone())).await?.backend)
}

/// Opens a store to write into it.
pub(super) async fn open_target(config: &Config, url: &StorageUrl) -> anyhow::Result<Arc<dyn StorageBackend>> {
    let url = url.clone().complete(config);
    match &url {
        StorageUrl::Memory => {
            tracing::warn!("what is stored in `memory:` is gone when this command ends: a rehearsal, no copy");
        }
        StorageUrl::Sqlite(Some(path)) if LegacySqlite::detect(path).await?.is_some() => bail!(
            "{path} was written by an older Reflow tracing server, and is only read: name another file to write into"
        ),
        _ => {}
    }
    Ok(open_storage(&url.choose(config.clone())).await?.backend)
}
