//! The stores of the cases. Each is empty when its case starts.

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::grants::{self, Grant};
use super::recording::{Recording, Written};
use reflow_tracing::TraceId;
use reflow_tracing::plugin::{Limits, PluginBackend, PluginComponent, PluginConfig};
use reflow_tracing::storage::conformance::Subject;
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};

pub struct Stores {
    pub name: String,
    pub component: PluginComponent,
    pub(super) grants: Vec<Grant>,
    pub config: Map<String, Value>,
    /// The traces in a store that the cases share.
    pub(super) written: Written,
}

impl Stores {
    /// Generous: a busy machine must not fail a case.
    pub(super) fn limits() -> Limits {
        Limits { call_timeout_ms: 60_000, cpu_ms: 60_000, ..Limits::default() }
    }

    /// Whether each case has its own store. Otherwise the cases share one, which is emptied after each case.
    pub(super) fn are_fresh(&self) -> bool {
        grants::are_fresh(&self.grants)
    }

    /// Whether the plugin supports deletion. Fails when a store can't be opened or is not empty.
    pub(super) async fn check(&self) -> anyhow::Result<bool> {
        let (store, _folder) = self.open().await.context("can't open the plugin")?;
        let deletes = match store.delete_trace(TraceId::new()).await {
            Ok(_) => true,
            Err(StorageError::Unsupported(_)) => false,
            Err(error) => return Err(error).context("the plugin fails to delete a trace that does not exist"),
        };
        if !self.are_fresh() && !deletes {
            bail!(
                "the cases need empty stores, and the plugin can't delete traces: use {{dir}} or {{random}} in the values of \
                 --grant, so that each case has its own store"
            );
        }
        self.is_empty(&store).await.context(
            "the cases need an empty store: grant an empty one, or use {dir} or {random} in the values of --grant, so that \
             each case has its own",
        )?;
        store.close().await?;
        Ok(deletes)
    }

    /// The store of the next case.
    pub(super) async fn next(&self) -> Result<Subject, StorageError> {
        let (store, folder) = self.open().await?;
        if self.are_fresh() {
            return Ok(Subject::new(store).keeping(folder));
        }
        self.written.delete_from(&store).await?;
        self.is_empty(&store).await?;
        Ok(Subject::new(Recording { store, written: self.written.clone() }).keeping(folder))
    }

    /// Deletes the traces of the last case.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        if !self.are_fresh() {
            let (store, _folder) = self.open().await?;
            self.written.delete_from(&store).await.context("can't delete the traces of the cases")?;
            store.close().await?;
        }
        Ok(())
    }

    /// A store, and the folder that its files are in.
    pub async fn open(&self) -> Result<(PluginBackend, TempDir), StorageError> {
        let (grants, folder) =
            grants::of_case(&self.grants).map_err(|error| StorageError::Configuration(format!("{error:#}")))?;
        let config =
            PluginConfig { grants, config: self.config.clone(), limits: Self::limits(), ..PluginConfig::default() };
        Ok((PluginBackend::open(&self.name, self.component.clone(), &config).await?, folder))
    }

    async fn is_empty(&self, store: &PluginBackend) -> Result<(), StorageError> {
        let stats = match store.stats().await {
            // The plugin can't report it. A case that finds other traces will fail.
            Err(StorageError::Unsupported(_)) => return Ok(()),
            stats => stats?,
        };
        if stats.traces > 0 || stats.events > 0 {
            let message = format!("the store holds {} traces and {} events", stats.traces, stats.events);
            return Err(StorageError::Configuration(message));
        }
        Ok(())
    }
}
