//! From the configuration to a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plugins::check_name;
use super::{BUILT_IN, Config, layers};
use reflow_tracing::maintenance::retention;
use reflow_tracing::storage::{MemoryStorage, StorageBackend, StorageError};

/// Why the configured store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The backend is neither built in nor a plugin that is there.
    #[error(
        "there is no backend `{name}`: it is not built in (those are {}), and there is no plugin file `{}`{}. \
         Put the plugin there, name its file with `file` in `[plugins.{name}]`, or set `backend` in `[storage]` to \
         another one",
        BUILT_IN.join(", "),
        file.display(),
        there_are(folder, found),
    )]
    NoSuchBackend {
        /// The name that the configuration gives.
        name: String,
        /// The file that was looked for.
        file: PathBuf,
        /// The folder of the plugins.
        folder: PathBuf,
        /// The components in that folder.
        found: Vec<String>,
    },
    /// The name can't be a backend's.
    #[error("`backend` in `[storage]` can't be {name:?}: {problem}")]
    InvalidName {
        /// The name that the configuration gives.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What is configured can't be had with this backend.
    #[error("{0}")]
    Unsuitable(String),
    /// The backend was found, but does not open.
    #[error("can't open the backend `{name}`: {error}")]
    Backend {
        /// The name that the configuration gives.
        name: String,
        /// What the backend says.
        error: StorageError,
    },
}

fn there_are(folder: &Path, found: &[String]) -> String {
    match found {
        [] => format!(" (`{}` holds no .wasm file)", folder.display()),
        found => format!(" (`{}` holds {})", folder.display(), found.join(", ")),
    }
}

/// A store that was opened.
#[derive(Clone)]
pub struct OpenStorage {
    /// Its name in the configuration.
    pub name: String,
    /// The store.
    pub backend: Arc<dyn StorageBackend>,
    /// The plugin that it is, if it is one.
    pub plugin: Option<Arc<reflow_tracing::plugin::PluginBackend>>,
}

impl OpenStorage {
    /// A store that is no plugin.
    pub fn new(name: &str, backend: Arc<dyn StorageBackend>) -> Self {
        Self { name: name.to_owned(), backend, plugin: None }
    }
}

/// Opens the store that `config` names, in the layers that it asks for: as the host has it.
pub async fn open_host_storage(config: &Config) -> Result<OpenStorage, OpenError> {
    config.check_retention()?;
    let opened = match open_storage(config).await {
        Err(OpenError::Backend { name, error })
            if error.is_retryable() && config.storage.spool.is_some() && BUILT_IN.contains(&name.as_str()) =>
        {
            tracing::warn!("the host starts without its backend, which is away: {error}");
            OpenStorage::new(&name, Arc::new(when_it_is_there(config.clone())))
        }
        opened => opened?,
    };
    let backend = layers::around(opened.backend.clone(), &opened.name, &config.storage).await?;
    let opened = OpenStorage { backend, ..opened };
    let unsuitable = |error| OpenError::Backend { name: opened.name.clone(), error };
    match retention::check(&*opened.backend, &config.storage.retention.policy()).await {
        // It may be away for now.
        Err(error) if !error.is_retryable() => Err(unsuitable(error)),
        _ => Ok(opened),
    }
}

/// The store that `config` names, opened by the first call that finds it there.
fn when_it_is_there(config: Config) -> reflow_tracing::storage::layers::lazy::Lazy<Arc<dyn StorageBackend>> {
    reflow_tracing::storage::layers::lazy::Lazy::new(move || {
        let config = config.clone();
        Box::pin(async move {
            match open_storage(&config).await {
                Ok(opened) => Ok(opened.backend),
                Err(OpenError::Backend { error, .. }) => Err(error),
                Err(other) => Err(StorageError::Configuration(other.to_string())),
            }
        })
    })
}

/// Opens the store that `config` names.
pub async fn open_storage(config: &Config) -> Result<OpenStorage, OpenError> {
    match config.storage.backend.as_str() {
        name @ "memory" => {
            Ok(OpenStorage::new(name, Arc::new(MemoryStorage::with_config(config.storage.memory.clone()))))
        }
        name @ "sqlite" => {
            match reflow_tracing::storage::SqliteStorage::with_config(config.storage.sqlite.clone()).await {
                Ok(storage) => Ok(OpenStorage::new(name, Arc::new(storage))),
                Err(error) => Err(OpenError::Backend { name: name.to_owned(), error }),
            }
        }
        name @ "postgres" => {
            match reflow_tracing::storage::PostgresStorage::with_config(config.storage.postgres.clone()).await {
                Ok(storage) => Ok(OpenStorage::new(name, Arc::new(storage))),
                Err(error) => Err(OpenError::Backend { name: name.to_owned(), error }),
            }
        }
        name @ "clickhouse" => {
            match reflow_tracing::storage::ClickHouseStorage::with_config(config.storage.clickhouse.clone()).await {
                Ok(storage) => Ok(OpenStorage::new(name, Arc::new(storage))),
                Err(error) => Err(OpenError::Backend { name: name.to_owned(), error }),
            }
        }
        name => open_plugin(name, config).await,
    }
}

async fn open_plugin(name: &str, config: &Config) -> Result<OpenStorage, OpenError> {
    use reflow_tracing::plugin::{PluginRuntime, PluginRuntimeConfig};
    use reflow_tracing::storage::layers::metrics::Metered;

    let file = plugin_file(name, config)?;
    let plugin = config.plugins.named.get(name).cloned().unwrap_or_default();
    let runtime =
        PluginRuntimeConfig { cache_dir: config.plugins.cache_dir(), max_connections: config.plugins.max_connections };
    let opened = async { PluginRuntime::new(&runtime)?.load(name, &file, &plugin).await };
    match opened.await {
        Ok(opened) => {
            let opened = Arc::new(opened);
            let backend = Arc::new(Metered::around(Arc::clone(&opened)));
            Ok(OpenStorage { name: name.to_owned(), backend, plugin: Some(opened) })
        }
        Err(error) => Err(OpenError::Backend { name: name.to_owned(), error }),
    }
}

/// Where the component of the plugin `name` is.
pub(crate) fn plugin_file(name: &str, config: &Config) -> Result<PathBuf, OpenError> {
    check_name(name).map_err(|problem| OpenError::InvalidName { name: name.to_owned(), problem })?;
    let folder = &config.plugins.dir;
    let file = named_file(name, config).unwrap_or_else(|| folder.join(format!("{name}.wasm")));
    if file.is_file() {
        return Ok(file);
    }
    Err(OpenError::NoSuchBackend { name: name.to_owned(), file, folder: folder.clone(), found: components_in(folder) })
}

/// The file that the plugin's table names.
fn named_file(name: &str, config: &Config) -> Option<PathBuf> {
    config.plugins.named.get(name)?.file.clone()
}

/// The names of the component files in `folder`, in order; none when it can't be read.
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
        open_storage(config).await.err().expect("it must not open").to_string()
    }

    #[tokio::test]
    async fn memory_is_opened_by_name() {
        let storage = open_storage(&config("memory", Path::new("plugins"))).await.unwrap().backend;
        storage.health_check().await.unwrap();
    }

    #[tokio::test]
    async fn sqlite_is_opened_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config("sqlite", dir.path());
        config.storage.sqlite.database_path = dir.path().join("t.db").to_str().unwrap().into();
        let storage = open_storage(&config).await.unwrap().backend;
        storage.health_check().await.unwrap();
        storage.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_plugin_file_that_is_no_component_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("broken.wasm"), "no wasm").unwrap();
        let message = refusal(&config("broken", dir.path())).await;
        assert!(message.contains("`broken`"), "{message}");
    }

    #[tokio::test]
    async fn an_unknown_backend_is_refused_with_what_was_looked_for_and_what_is_there() {
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
    async fn a_name_can_not_lead_out_of_the_plugins_folder() {
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
