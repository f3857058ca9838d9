use std::sync::Arc;

use super::store::Store;
use crate::client::{HostStore, HostUrl};
use reflow_tracing::storage::StorageBackend;

/// Where a subcommand reads traces: a store, or a running host.
#[derive(clap::Args)]
pub(super) struct Source {
    #[command(flatten)]
    store: Store,
    /// Ask the running host at this address, instead of opening a store
    #[arg(long, value_name = "ws://HOST:PORT", conflicts_with_all = ["store", "config"])]
    server: Option<HostUrl>,
}

impl Source {
    /// Opens it for reading.
    pub(super) async fn open(&self) -> anyhow::Result<Arc<dyn StorageBackend>> {
        match &self.server {
            Some(url) => Ok(Arc::new(HostStore::open(url.clone()).await?)),
            None => self.store.open().await,
        }
    }
}
