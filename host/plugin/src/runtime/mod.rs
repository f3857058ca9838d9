//! Where plugins run: engines, instances, pools of them, and what watches over a plugin; and what all plugins of a process
//! have in common.

mod cpu;
pub(super) mod engine;
pub(super) mod instance;
pub(super) mod pool;
pub(super) mod supervisor;
mod turns;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use reflow_tracing_storage::StorageError;
use tokio::sync::Semaphore;

use crate::backend::PluginBackend;
use crate::component::{self, Compiled, CompiledCache};
use crate::policy::PluginConfig;

/// Where plugins are compiled and run. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct PluginRuntime {
    cache: Option<Arc<CompiledCache>>,
    connections: Arc<Semaphore>,
}

/// What holds for all plugins together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRuntimeConfig {
    /// The folder that keeps compiled code from one start to the next, made when it is missing. It must be closed to other
    /// users. `None` compiles at every start.
    pub cache_dir: Option<PathBuf>,
    /// Connections to databases and servers that all plugins together may have open.
    pub max_connections: usize,
}

impl Default for PluginRuntimeConfig {
    /// No cache, a thousand connections.
    fn default() -> Self {
        Self { cache_dir: None, max_connections: 1_000 }
    }
}

/// The component of a plugin, read, checked and compiled: what takes the time of loading one. Cheap to clone.
#[derive(Clone)]
pub struct PluginComponent(pub(crate) Compiled);

impl PluginComponent {
    /// Compiles the component in `file` for the plugin `name`, in a runtime that keeps no compiled code.
    ///
    /// Fails where [`PluginRuntime::compile`] does.
    pub async fn load(name: &str, file: &Path, config: &PluginConfig) -> Result<Self, StorageError> {
        PluginRuntime::shared().compile(name, file, config).await
    }
}

impl PluginRuntime {
    /// Fails when the configuration makes no sense. A cache that can't be used is no failure: it is told in the log.
    pub fn new(config: &PluginRuntimeConfig) -> Result<Self, StorageError> {
        if config.max_connections == 0 || config.max_connections > Semaphore::MAX_PERMITS {
            return Err(StorageError::Configuration(format!(
                "plugins.max_connections can't be {}: at least 1 is needed",
                config.max_connections
            )));
        }
        let cache = config.cache_dir.as_deref().and_then(|folder| match CompiledCache::open(folder) {
            Ok(cache) => Some(Arc::new(cache)),
            Err(error) => {
                tracing::warn!("compiled plugins are not kept: {}: {error}", folder.display());
                None
            }
        });
        Ok(Self { cache, connections: Arc::new(Semaphore::new(config.max_connections)) })
    }

    /// The one that [`PluginBackend::load`] uses.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: LazyLock<PluginRuntime> = LazyLock::new(|| PluginRuntime {
            cache: None,
            connections: Arc::new(Semaphore::new(PluginRuntimeConfig::default().max_connections)),
        });
        &SHARED
    }

    pub(crate) fn connections(&self) -> &Arc<Semaphore> {
        &self.connections
    }

    /// Loads the component in `file` as the plugin `name` and opens it.
    ///
    /// Fails where [`compile`](Self::compile) or [`open`](Self::open) does.
    pub async fn load(&self, name: &str, file: &Path, config: &PluginConfig) -> Result<PluginBackend, StorageError> {
        let component = self.compile(name, file, config).await?;
        self.open(name, component, config).await
    }

    /// Compiles the component in `file` for the plugin `name`, or finds it compiled.
    ///
    /// Fails when the file is missing, has another digest than the configured one, is no component, or wants what this host
    /// doesn't have.
    pub async fn compile(
        &self,
        name: &str,
        file: &Path,
        config: &PluginConfig,
    ) -> Result<PluginComponent, StorageError> {
        let (name, file, config, cache) = (name.to_owned(), file.to_owned(), config.clone(), self.cache.clone());
        // Compiling takes the processor for a while.
        tokio::task::spawn_blocking(move || component::load(&name, &file, &config, cache.as_deref()))
            .await
            .map_err(|error| StorageError::Other { message: error.to_string(), retryable: false })?
            .map(PluginComponent)
    }

    /// Opens `component` as the plugin `name`; its file and digest are no matter any more.
    ///
    /// Fails when the configuration is wrong, or the plugin refuses to open or to work.
    pub async fn open(
        &self,
        name: &str,
        component: PluginComponent,
        config: &PluginConfig,
    ) -> Result<PluginBackend, StorageError> {
        PluginBackend::open_in(self, name, component, config).await
    }
}
