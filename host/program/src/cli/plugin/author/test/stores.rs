//! The stores of the cases. Each is empty when its case starts.

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::forwarder::Forwarder;
use super::grants::{self, Grant};
use super::recording::{Recording, Written};
use super::services::{HttpReceiver, RedisServer};
use reflow_tracing::plugin::{Limits, PluginBackend, PluginComponent, PluginConfig};
use reflow_tracing::storage::conformance::{Ability, Subject, Suite};
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{TraceId, TraceQuery};

pub struct Stores {
    pub name: String,
    pub component: PluginComponent,
    pub(super) grants: Vec<Grant>,
    pub config: Map<String, Value>,
    /// The traces in a store that the cases share.
    pub(super) written: Written,
    /// Whether each store has a receiver for HTTP.
    pub(super) receives: bool,
    /// Serves as long as the stores.
    pub(super) _redis: Option<RedisServer>,
}

/// A store that is open, and what must live as long.
pub(in super::super) struct Opened {
    pub plugin: PluginBackend,
    folder: TempDir,
    receiver: Option<HttpReceiver>,
}

/// What a plugin does.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Abilities {
    /// It answers no read, and has a receiver.
    pub forwards: bool,
    deletes: bool,
}

impl Abilities {
    /// All cases for a plugin of its kind.
    pub(in super::super) fn kind_of_suite(self) -> Suite {
        if self.forwards { Suite::of_forwarder() } else { Suite::new() }
    }

    /// Without the cases about what is optional, and which it does not do.
    pub(in super::super) fn restrict(self, suite: Suite) -> Suite {
        if self.deletes { suite } else { suite.without(Ability::Deletion) }
    }
}

impl Stores {
    /// Generous: a busy machine must not fail a case.
    pub(super) fn limits() -> Limits {
        Limits { call_timeout_ms: 60_000, cpu_ms: 60_000, ..Limits::default() }
    }

    /// How long a call may wait for a receiver that does not answer: longer than the default, for a busy machine.
    const SILENCE_MS: u64 = 20_000;

    /// Whether each case has its own store. Otherwise the cases share one, which is emptied after each case.
    pub(super) fn are_fresh(&self) -> bool {
        grants::are_fresh(&self.grants)
    }

    /// What the plugin does. Fails when a store can't be opened or is not empty.
    pub(in super::super) async fn check(&self) -> anyhow::Result<Abilities> {
        let opened = self.open().await.context("can't open the plugin")?;
        let store = &opened.plugin;
        let deletes = match store.delete_trace(TraceId::new()).await {
            Ok(_) => true,
            Err(StorageError::Unsupported(_)) => false,
            Err(error) => return Err(error).context("the plugin fails to delete a trace that does not exist"),
        };
        let reads_nothing =
            matches!(store.query_traces(TraceQuery::default()).await, Err(StorageError::Unsupported(_)))
                && matches!(store.get_events(TraceId::new()).await, Err(StorageError::Unsupported(_)));
        if reads_nothing && !self.receives && self.grants.iter().any(|grant| grant.is_of("http")) {
            bail!(
                "the plugin answers no read, so this command must see what it sends: leave out --grant http=.., and it starts a \
                 receiver, whose address is the setting `url`"
            );
        }
        if !self.are_fresh() && !deletes {
            bail!(
                "the cases need empty stores, and the plugin can't delete traces: use {{dir}} or {{random}} in the values of \
                 --grant, so that each case has its own store"
            );
        }
        self.is_empty(store).await.context(
            "the cases need an empty store: grant an empty one, or use {dir} or {random} in the values of --grant, so that \
             each case has its own",
        )?;
        store.close().await?;
        Ok(Abilities { forwards: reads_nothing && self.receives, deletes })
    }

    /// The store of the next case.
    pub(super) async fn next(&self, abilities: Abilities) -> Result<Subject, StorageError> {
        let Opened { plugin, folder, receiver } = self.open().await?;
        if let (true, Some(receiver)) = (abilities.forwards, receiver) {
            let answers = receiver.answers();
            return Ok(Subject::new(Forwarder { plugin, receiver }).received_by(answers).keeping(folder));
        }
        if self.are_fresh() {
            return Ok(Subject::new(plugin).keeping(folder));
        }
        self.written.delete_from(&plugin).await?;
        self.is_empty(&plugin).await?;
        Ok(Subject::new(Recording { store: plugin, written: self.written.clone() }).keeping(folder))
    }

    /// Deletes the traces of the last case.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        if !self.are_fresh() {
            let opened = self.open().await?;
            self.written.delete_from(&opened.plugin).await.context("can't delete the traces of the cases")?;
            opened.plugin.close().await?;
        }
        Ok(())
    }

    /// A store.
    pub(in super::super) async fn open(&self) -> Result<Opened, StorageError> {
        let unusable = |error: anyhow::Error| StorageError::Configuration(format!("{error:#}"));
        let (mut grants, folder) = grants::of_case(&self.grants).map_err(unusable)?;
        let mut config = self.config.clone();
        let mut limits = Self::limits();
        let mut receiver = None;
        if self.receives {
            let started = HttpReceiver::start().await.context("can't start a receiver").map_err(unusable)?;
            grants.http.push(started.origin().into());
            config.entry("url").or_insert_with(|| format!("{}/traces", started.origin()).into());
            limits.call_timeout_ms = Self::SILENCE_MS;
            receiver = Some(started);
        }
        let config = PluginConfig { grants, config, limits, ..PluginConfig::default() };
        let plugin = PluginBackend::open(&self.name, self.component.clone(), &config).await?;
        Ok(Opened { plugin, folder, receiver })
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
