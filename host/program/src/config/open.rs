//! Opens the store that a configuration names.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::also::{self, AlsoPlugins};
use super::backend::{Backend, BuiltIn};
use super::error::OpenError;
use super::layers;
use super::plugins::check_name;
use super::settings::{Config, StorageConfig};
use reflow_tracing::maintenance::retention;
use reflow_tracing::plugin::{PluginBackend, PluginRuntime, excessive_grants};
use reflow_tracing::storage::layers::lazy::Lazy;
use reflow_tracing::storage::layers::metrics::Metered;
use reflow_tracing::storage::{
    ClickHouseStorage, MemoryStorage, PostgresStorage, SqliteStorage, StorageBackend, StorageError,
};

/// An open store.
#[derive(Clone)]
pub struct OpenStorage {
    /// Its name in the configuration.
    pub name: String,
    /// The store.
    pub backend: Arc<dyn StorageBackend>,
    /// The plugin, if the backend is one.
    pub plugin: Option<Arc<PluginBackend>>,
    /// The plugins of `also` that are open.
    pub also_plugins: AlsoPlugins,
}

impl OpenStorage {
    /// A store that is not a plugin.
    pub fn new(name: &str, backend: Arc<dyn StorageBackend>) -> Self {
        Self { name: name.to_owned(), backend, plugin: None, also_plugins: AlsoPlugins::default() }
    }

    /// Every open plugin.
    pub fn plugins(&self) -> Vec<Arc<PluginBackend>> {
        self.plugin.iter().cloned().chain(self.also_plugins.list()).collect()
    }
}

/// How backends are opened.
#[derive(Clone, Default)]
pub(super) struct Opening {
    /// The runtime of all plugins of this host, made for the first one.
    runtime: Arc<OnceLock<PluginRuntime>>,
    /// The longest that a backend may take, besides the compilation of a plugin.
    patience: Option<Duration>,
}

impl Opening {
    /// The same, failing as unavailable after this time.
    pub(super) fn with_patience(&self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self.clone() }
    }

    /// The runtime of plugins, with the settings of the first configuration that needs it.
    fn runtime(&self, config: &Config) -> Result<PluginRuntime, StorageError> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime.clone());
        }
        let new = PluginRuntime::new(&config.plugins.runtime())?.with_admission(config.plugins.admission());
        Ok(self.runtime.get_or_init(|| new).clone())
    }

    async fn within_patience<T>(
        &self,
        opened: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        match self.patience {
            None => opened.await,
            Some(patience) => tokio::time::timeout(patience, opened)
                .await
                .unwrap_or_else(|_| Err(StorageError::Unavailable(format!("it did not open within {patience:?}")))),
        }
    }
}

/// Opens the store that `config` names, for a subcommand: with the time limit and the retries, without the spool, which
/// only one process can use.
pub async fn open_storage(config: &Config) -> Result<Arc<dyn StorageBackend>, OpenError> {
    Ok(layers::limited_and_retried(open_backend(config, &Opening::default()).await?.backend, &config.storage))
}

/// Opens the store that `config` names for reading only, for a subcommand: nothing is created or written. A plugin opens
/// what it was granted as always.
pub async fn open_storage_to_read(mut config: Config) -> Result<Arc<dyn StorageBackend>, OpenError> {
    let storage = &mut config.storage;
    for read_only in [&mut storage.sqlite.read_only, &mut storage.postgres.read_only, &mut storage.clickhouse.read_only]
    {
        *read_only = true;
    }
    open_storage(&config).await
}

/// Opens the store that `config` names, for the host: with the time limit, and with the spool if there is one, else the
/// retries. With a spool, a built-in backend may be unavailable. Its writes also go to the backends of `also`.
pub async fn open_host_storage(config: &Config) -> Result<OpenStorage, OpenError> {
    config.check_retention()?;
    config.storage.check_writable()?;
    config.check_also()?;
    for warning in config.excessive_grants().await {
        tracing::warn!("{warning}");
    }
    let opening = Opening::default();
    let opened = match open_backend(config, &opening).await {
        Err(OpenError::Backend { name, error })
            if error.is_retryable()
                && config.storage.spool.is_some()
                && matches!(config.storage.backend, Backend::BuiltIn(_)) =>
        {
            tracing::warn!("the backend is unavailable; the host starts without it: {error}");
            OpenStorage::new(&name, Arc::new(opened_lazily(config.clone())))
        }
        opened => opened?,
    };
    let backend = match &config.storage.spool {
        Some(spool) => layers::limited_and_spooled(opened.backend, &config.storage, spool).await?,
        None => layers::limited_and_retried(opened.backend, &config.storage),
    };
    let (backend, also_plugins) = also::around(backend, config, &opening).await?;
    let opened = OpenStorage { backend, also_plugins, ..opened };
    match retention::check(&*opened.backend, &config.storage.retention.policy()).await {
        // A transient error says nothing about the policy.
        Err(error) if !error.is_retryable() => Err(OpenError::Backend { name: opened.name, error }),
        _ => Ok(opened),
    }
}

impl StorageConfig {
    /// Refuses a store that can't be written.
    pub(super) fn check_writable(&self) -> Result<(), OpenError> {
        let read_only = match &self.backend {
            Backend::BuiltIn(BuiltIn::Sqlite) => self.sqlite.read_only,
            Backend::BuiltIn(BuiltIn::Postgres) => self.postgres.read_only,
            Backend::BuiltIn(BuiltIn::ClickHouse) => self.clickhouse.read_only,
            Backend::BuiltIn(BuiltIn::Memory) | Backend::Plugin(_) => false,
        };
        if read_only {
            return Err(OpenError::Unsuitable(format!(
                "the host stores traces, so `read_only` in `[storage.{}]` must be false; `reflow-tracing query`, `get` and \
                 `export` read a store that can't be written",
                self.backend
            )));
        }
        Ok(())
    }
}

impl Config {
    /// Warnings about grants of the plugins in use that give more rights than a store needs.
    pub async fn excessive_grants(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for backend in std::iter::once(&self.storage.backend).chain(self.storage.also.iter().map(|also| &also.backend))
        {
            if let Backend::Plugin(name) = backend
                && let Some(plugin) = self.plugins.named.get(&**name)
            {
                warnings.extend(excessive_grants(name, plugin).await);
            }
        }
        warnings
    }

    /// Refuses a retention policy that the backend can't enforce, as far as that is known without opening it.
    pub fn check_retention(&self) -> Result<(), OpenError> {
        if self.storage.backend == Backend::BuiltIn(BuiltIn::Postgres)
            && self.storage.retention.max_size_mb.is_some()
            && !self.storage.postgres.enable_partitioning
        {
            return Err(OpenError::Unsuitable(
                "`max_size_mb` in `[storage.retention]` needs partitions: PostgreSQL reuses the space of deleted rows, so the \
                 tables do not shrink. Set `enable_partitioning = true` in `[storage.postgres]`, or use `max_age` or \
                 `max_traces`"
                    .into(),
            ));
        }
        Ok(())
    }
}

/// The backend that `config` names, opened by the first call that finds it available.
fn opened_lazily(config: Config) -> Lazy<Arc<dyn StorageBackend>> {
    Lazy::new(move || {
        let config = config.clone();
        Box::pin(async move {
            match open_backend(&config, &Opening::default()).await {
                Ok(opened) => Ok(opened.backend),
                Err(OpenError::Backend { error, .. }) => Err(error),
                Err(other) => Err(StorageError::Configuration(other.to_string())),
            }
        })
    })
}

/// Opens the backend itself, with its metrics and without any other layer.
pub(super) async fn open_backend(config: &Config, opening: &Opening) -> Result<OpenStorage, OpenError> {
    match &config.storage.backend {
        Backend::BuiltIn(backend) => match opening.within_patience(open_built_in(*backend, &config.storage)).await {
            Ok(storage) => Ok(OpenStorage::new(backend.name(), storage)),
            Err(error) => Err(OpenError::Backend { name: backend.name().to_owned(), error }),
        },
        Backend::Plugin(name) => open_plugin(name, config, opening).await,
    }
}

async fn open_built_in(backend: BuiltIn, config: &StorageConfig) -> Result<Arc<dyn StorageBackend>, StorageError> {
    Ok(match backend {
        BuiltIn::Memory => Arc::new(MemoryStorage::with_config(config.memory.clone())),
        BuiltIn::Sqlite => Arc::new(SqliteStorage::with_config(config.sqlite.clone()).await?),
        BuiltIn::Postgres => Arc::new(PostgresStorage::with_config(config.postgres.clone()).await?),
        BuiltIn::ClickHouse => Arc::new(ClickHouseStorage::with_config(config.clickhouse.clone()).await?),
    })
}

async fn open_plugin(name: &str, config: &Config, opening: &Opening) -> Result<OpenStorage, OpenError> {
    let file = plugin_file(name, config)?;
    let plugin = config.plugins.named.get(name).cloned().unwrap_or_default();
    let opened = async {
        let runtime = opening.runtime(config)?;
        let component = runtime.compile(name, &file, &plugin).await?;
        opening.within_patience(runtime.open(name, component, &plugin)).await
    };
    match opened.await {
        Ok(opened) => {
            let opened = Arc::new(opened);
            let backend = Arc::new(Metered::around(Arc::clone(&opened)));
            Ok(OpenStorage { plugin: Some(opened), ..OpenStorage::new(name, backend) })
        }
        Err(error) => Err(OpenError::Backend { name: name.to_owned(), error }),
    }
}

/// The component file of the plugin `name`.
pub(crate) fn plugin_file(name: &str, config: &Config) -> Result<PathBuf, OpenError> {
    check_name(name).map_err(|problem| OpenError::InvalidName { name: name.to_owned(), problem })?;
    let folder = &config.plugins.dir;
    let configured = config.plugins.named.get(name).and_then(|plugin| plugin.file.clone());
    let file = configured.unwrap_or_else(|| folder.join(format!("{name}.wasm")));
    if file.is_file() {
        return Ok(file);
    }
    Err(OpenError::NoSuchBackend { name: name.to_owned(), file, folder: folder.clone(), found: components_in(folder) })
}

/// The sorted names of the component files in `folder`; none when it can't be read.
fn components_in(folder: &Path) -> Vec<String> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".wasm"))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(backend: &str, dir: &Path) -> Config {
        let mut config = Config::default();
        config.storage.backend = backend.into();
        config.plugins.dir = dir.to_owned();
        config
    }

    async fn refusal(config: &Config) -> String {
        open_storage(config).await.err().expect("an error").to_string()
    }

    #[tokio::test]
    async fn built_in_backends_are_opened_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["memory", "sqlite"] {
            let mut config = config(name, dir.path());
            config.storage.sqlite.database_path = dir.path().join("t.db").to_str().unwrap().into();
            let storage = open_storage(&config).await.unwrap();
            storage.health_check().await.unwrap();
            storage.close().await.unwrap();
            assert_eq!(dir.path().join("t.db").exists(), name == "sqlite");
        }
    }

    #[tokio::test]
    async fn a_plugin_file_that_is_not_a_component_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("broken.wasm"), "not wasm").unwrap();
        let message = refusal(&config("broken", dir.path())).await;
        assert!(message.contains("`broken`"), "{message}");
    }

    #[tokio::test]
    async fn an_unknown_backend_is_refused_with_the_expected_file_and_the_available_plugins() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("redis.wasm"), "").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "").unwrap();
        let message = refusal(&config("reddis", dir.path())).await;
        for part in
            ["`reddis`", "reddis.wasm", "memory, sqlite, postgres, clickhouse", "redis.wasm", "[plugins.reddis]"]
        {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
        assert!(!message.contains("notes.txt"), "{message}");
    }

    #[tokio::test]
    async fn a_name_cannot_lead_out_of_the_plugins_folder() {
        for name in ["../secret", "a\\b", "..", ""] {
            let message = refusal(&config(name, Path::new("plugins"))).await;
            assert!(message.contains("[storage]"), "{message}");
        }
    }

    #[test]
    fn the_file_of_a_plugin_is_the_one_its_table_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("other.wasm");
        std::fs::write(&file, "").unwrap();
        let mut config = config("ledger", dir.path());
        let plugin = reflow_tracing::plugin::PluginConfig { file: Some(file.clone()), ..Default::default() };
        config.plugins.named.insert("ledger".into(), plugin);
        assert_eq!(plugin_file("ledger", &config).unwrap(), file);
    }
}
