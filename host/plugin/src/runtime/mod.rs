//! The plugin runtime: compilation, engines, instances, pools and supervision, and what all plugins of a process share.

pub(crate) mod call_metrics;
mod compile;
mod component;
pub(crate) mod cpu;
pub(crate) mod engine;
pub(crate) mod exports;
mod failure;
mod fair_scheduler;
pub(crate) mod instance;
mod output;
pub(crate) mod pool;
pub(crate) mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use reflow_tracing_storage::StorageError;
use tokio::sync::Semaphore;

use crate::policy::PluginConfig;
use compile::CodeCache;
pub use compile::{CompilerProcess, run_compiler};
use component::Compiled;

/// Compiles and runs plugins. Cheap to clone; clones share the cache and the connection limit.
#[derive(Clone)]
pub struct PluginRuntime {
    cache: Option<Arc<CodeCache>>,
    compiler: Option<Arc<CompilerProcess>>,
    connections: Arc<Semaphore>,
    admission: Option<Admission>,
}

/// Asked before a file is loaded: the plugin's name, the file, and its SHA-256 in hexadecimal. An error refuses it.
pub type Admission = Arc<dyn Fn(&str, &Path, &str) -> Result<(), String> + Send + Sync>;

/// Settings for all plugins together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRuntimeConfig {
    /// The folder of the code cache, created when missing. Other users must not be able to write to it. `None` compiles at
    /// every start.
    pub cache_dir: Option<PathBuf>,
    /// Maximum open connections of all plugins to databases and servers.
    pub max_connections: usize,
    /// What compiles. `None` compiles in this process, where only the size of the code is limited.
    pub compiler: Option<CompilerProcess>,
}

impl Default for PluginRuntimeConfig {
    /// No cache, a thousand connections, compiled in this process.
    fn default() -> Self {
        Self { cache_dir: None, max_connections: 1_000, compiler: None }
    }
}

/// The compiled component of a plugin. Cheap to clone.
#[derive(Clone)]
pub struct PluginComponent(pub(crate) Compiled);

impl PluginComponent {
    /// Compiles the component in `file` for the plugin `name`, in a runtime without a code cache.
    ///
    /// Fails where [`PluginRuntime::compile`] does.
    pub async fn load(name: &str, file: &Path, config: &PluginConfig) -> Result<Self, StorageError> {
        PluginRuntime::shared().compile(name, file, config).await
    }
}

impl PluginRuntime {
    /// Fails when the configuration is invalid. An unusable cache is not a failure; the log says why it is unusable.
    pub fn new(config: &PluginRuntimeConfig) -> Result<Self, StorageError> {
        if config.max_connections == 0 || config.max_connections > Semaphore::MAX_PERMITS {
            return Err(StorageError::Configuration(format!(
                "plugins.max_connections is {}: it must be between 1 and {}",
                config.max_connections,
                Semaphore::MAX_PERMITS
            )));
        }
        let cache = config.cache_dir.as_deref().and_then(|folder| match CodeCache::open(folder) {
            Ok(cache) => Some(Arc::new(cache)),
            Err(error) => {
                tracing::warn!(
                    "can't use the code cache in {}, so plugins compile at every start: {error}",
                    folder.display()
                );
                None
            }
        });
        let compiler = config.compiler.clone().map(Arc::new);
        Ok(Self { cache, compiler, connections: Arc::new(Semaphore::new(config.max_connections)), admission: None })
    }

    /// Asks before each file is loaded, also when it is loaded again because it changed.
    #[must_use]
    pub fn with_admission(self, admission: Admission) -> Self {
        Self { admission: Some(admission), ..self }
    }

    /// The runtime without a code cache that the process shares.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: LazyLock<PluginRuntime> = LazyLock::new(|| PluginRuntime {
            cache: None,
            compiler: None,
            connections: Arc::new(Semaphore::new(PluginRuntimeConfig::default().max_connections)),
            admission: None,
        });
        &SHARED
    }

    pub(crate) fn connections(&self) -> &Arc<Semaphore> {
        &self.connections
    }

    /// Compiles the component in `file` for the plugin `name`, or loads it from the code cache.
    ///
    /// Fails when the file is missing, does not have the configured digest, is not a component, or imports what this host
    /// does not provide.
    pub async fn compile(
        &self,
        name: &str,
        file: &Path,
        config: &PluginConfig,
    ) -> Result<PluginComponent, StorageError> {
        let (name, file, config, runtime) = (name.to_owned(), file.to_owned(), config.clone(), self.clone());
        tokio::task::spawn_blocking(move || {
            let PluginRuntime { cache, compiler, admission, .. } = &runtime;
            component::load(&name, &file, &config, cache.as_deref(), compiler.as_deref(), admission.as_ref())
        })
        .await
        .map_err(|error| StorageError::Other { message: error.to_string(), retryable: false })?
        .map(PluginComponent)
    }
}
