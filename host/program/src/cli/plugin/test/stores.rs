//! The stores that the cases run on: each empty when its case begins.

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::grants::{self, Grant};
use super::written::{Remembering, Written};
use reflow_tracing::TraceId;
use reflow_tracing::plugin::{Limits, PluginBackend, PluginComponent, PluginConfig};
use reflow_tracing::storage::conformance::Subject;
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};

pub(super) struct Stores {
    pub name: String,
    pub component: PluginComponent,
    pub grants: Vec<Grant>,
    pub config: Map<String, Value>,
    /// What was written to a store that the cases share.
    pub written: Written,
}

impl Stores {
    /// What is tested is the plugin, not how busy the machine is.
    pub(super) fn limits() -> Limits {
        Limits { call_timeout_ms: 60_000, cpu_ms: 60_000, ..Limits::default() }
    }

    /// Whether each case has a store of its own. Otherwise one is shared, and emptied after each case.
    pub(super) fn are_fresh(&self) -> bool {
        grants::are_fresh(&self.grants)
    }

    /// Whether the plugin deletes. Fails when a store can't be opened, or would not be empty.
    pub(super) async fn look(&self) -> anyhow::Result<bool> {
        let (store, _folder) = self.open().await.context("the plugin can't be opened")?;
        let deletes = match store.delete_trace(TraceId::new()).await {
            Ok(_) => true,
            Err(StorageError::Unsupported(_)) => false,
            Err(error) => return Err(error).context("the plugin can't delete a trace that is not there"),
        };
        if !self.are_fresh() && !deletes {
            bail!(
                "the cases need empty stores, and the plugin can't delete what they leave: write {{dir}} or {{random}} into \
                 the values of --grant, so that each has a store of its own"
            );
        }
        self.is_empty(&store).await.context(
            "the cases need an empty store: grant one that is, or write {dir} or {random} into the values of --grant, so \
             that each has one of its own",
        )?;
        store.close().await?;
        Ok(deletes)
    }

    /// For the next case.
    pub(super) async fn next(&self) -> Result<Subject, StorageError> {
        let (store, folder) = self.open().await?;
        if self.are_fresh() {
            return Ok(Subject::new(store).keeping(folder));
        }
        self.written.delete_from(&store).await?;
        self.is_empty(&store).await?;
        Ok(Subject::new(Remembering { store, written: self.written.clone() }).keeping(folder))
    }

    /// Takes away what the last case left.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        if !self.are_fresh() {
            let (store, _folder) = self.open().await?;
            self.written.delete_from(&store).await.context("can't delete what the cases left")?;
            store.close().await?;
        }
        Ok(())
    }

    async fn open(&self) -> Result<(PluginBackend, TempDir), StorageError> {
        let (grants, folder) =
            grants::of_case(&self.grants).map_err(|error| StorageError::Configuration(format!("{error:#}")))?;
        let config =
            PluginConfig { grants, config: self.config.clone(), limits: Self::limits(), ..PluginConfig::default() };
        Ok((PluginBackend::open(&self.name, self.component.clone(), &config).await?, folder))
    }

    async fn is_empty(&self, store: &PluginBackend) -> Result<(), StorageError> {
        let stats = match store.stats().await {
            // There is nothing to tell by; what is left over will show.
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
