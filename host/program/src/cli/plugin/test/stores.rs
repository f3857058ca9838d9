//! The stores that the cases run on, empty when a case begins.

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::grants::{self, Grant};
use super::recording::{RecordingLayer, WrittenTraces};
use reflow_tracing::TraceId;
use reflow_tracing::plugin::{Limits, PluginBackend, PluginComponent, PluginConfig};
use reflow_tracing::storage::conformance::Subject;
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};

pub(super) struct Stores {
    pub name: String,
    pub component: PluginComponent,
    pub grants: Vec<Grant>,
    pub config: Map<String, Value>,
    /// The traces that the cases wrote to a shared store.
    pub written: WrittenTraces,
}

impl Stores {
    /// Generous, so that the result does not depend on the load of the machine.
    pub(super) fn limits() -> Limits {
        Limits { call_timeout_ms: 60_000, cpu_ms: 60_000, ..Limits::default() }
    }

    /// Whether each case has its own store. Otherwise they share one, which is emptied after each case.
    pub(super) fn are_isolated(&self) -> bool {
        grants::are_isolated(&self.grants)
    }

    /// Whether the plugin supports deletion. Fails when a store can't be opened or is not empty.
    pub(super) async fn check(&self) -> anyhow::Result<bool> {
        let (store, _folder) = self.open().await.context("can't open the plugin")?;
        let deletes = match store.delete_trace(TraceId::new()).await {
            Ok(_) => true,
            Err(StorageError::Unsupported(_)) => false,
            Err(error) => return Err(error).context("the plugin failed to delete a trace that does not exist"),
        };
        if !self.are_isolated() && !deletes {
            bail!(
                "the cases need empty stores, and the plugin does not support deletion: write {{dir}} or {{random}} into the \
                 values of --grant, so that each case has its own store"
            );
        }
        self.is_empty(&store).await.context(
            "the cases need an empty store: grant an empty one, or write {dir} or {random} into the values of --grant, so \
             that each case has its own",
        )?;
        store.close().await?;
        Ok(deletes)
    }

    /// The store for the next case.
    pub(super) async fn next(&self) -> Result<Subject, StorageError> {
        let (store, folder) = self.open().await?;
        if self.are_isolated() {
            return Ok(Subject::new(store).keeping(folder));
        }
        self.written.delete_from(&store).await?;
        self.is_empty(&store).await?;
        Ok(Subject::new(RecordingLayer { store, written: self.written.clone() }).keeping(folder))
    }

    /// Deletes what the last case left.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        if !self.are_isolated() {
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
            // Without statistics this can't be checked; leftovers would fail a case.
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
