//! The backends that get every write besides the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;

use super::backend::{Also, Backend, BuiltIn};
use super::error::OpenError;
use super::layers;
use super::open::{OpenStorage, Opening, open_backend, plugin_file};
use super::settings::Config;
use reflow_tracing::plugin::PluginBackend;
use reflow_tracing::storage::layers::lazy::Lazy;
use reflow_tracing::storage::layers::tee::Tee;
use reflow_tracing::storage::{StorageBackend, StorageError};

/// How long the start of the host waits for one of them. After that it is opened when something is to be delivered.
const PATIENCE: Duration = Duration::from_secs(5);

/// The open plugins among them. One that was away is added once it is open.
#[derive(Clone, Default)]
pub struct AlsoPlugins(Arc<Mutex<Vec<Arc<PluginBackend>>>>);

impl AlsoPlugins {
    /// The open ones.
    pub fn list(&self) -> Vec<Arc<PluginBackend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, plugin: Arc<PluginBackend>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(plugin);
    }
}

impl Config {
    /// Refuses an entry of `also` that can't work, as far as that is known without opening it.
    pub fn check_also(&self) -> Result<(), OpenError> {
        let mut seen = vec![&self.storage.backend];
        for also in &self.storage.also {
            let refuse = |problem: &str| Err(also.refused(problem));
            if also.backend == self.storage.backend {
                return refuse("it is the store itself, `backend` in `[storage]`. Remove it from `also`");
            }
            if seen.contains(&&also.backend) {
                return refuse("it is named twice. Remove one of them");
            }
            if also.backend == Backend::BuiltIn(BuiltIn::Memory) {
                return refuse(
                    "nothing could read what is only in the memory of the host. Name a backend that keeps it",
                );
            }
            self.with_backend(also).storage.check_writable().map_err(|error| also.refused(&error.to_string()))?;
            if let Backend::Plugin(name) = &also.backend {
                plugin_file(name, self).map_err(|error| also.refused(&error.as_entry_of_also()))?;
            }
            seen.push(&also.backend);
        }
        Ok(())
    }

    /// The configuration with this backend as its store.
    fn with_backend(&self, also: &Also) -> Self {
        let mut config = self.clone();
        config.storage.backend = also.backend.clone();
        config
    }
}

impl Also {
    fn refused(&self, problem: &str) -> OpenError {
        let (place, name) = (self.place.clone(), self.backend.name().to_owned());
        OpenError::Also { place, name, problem: problem.to_owned() }
    }
}

/// Gives every write of `store` to the backends that `config` names besides it. They may be away.
pub(super) async fn around(
    store: Arc<dyn StorageBackend>,
    config: &Config,
    opening: &Opening,
) -> Result<(Arc<dyn StorageBackend>, AlsoPlugins), OpenError> {
    let plugins = AlsoPlugins::default();
    let settings = &config.storage;
    if settings.also.is_empty() {
        return Ok((store, plugins));
    }
    let opened = try_join_all(settings.also.iter().map(async |also| {
        let opener = Opener { config: config.with_backend(also), opening: opening.clone(), plugins: plugins.clone() };
        let backend = opener.open_or_defer(also).await?;
        Ok::<_, OpenError>((also.backend.name().to_owned(), layers::limited(backend, settings)))
    }))
    .await?;
    match Tee::open(store, opened, &settings.also_queue).await {
        Ok(tee) => Ok((Arc::new(tee), plugins)),
        Err(error) => Err(OpenError::Unsuitable(error.to_string())),
    }
}

/// Opens one of them.
#[derive(Clone)]
struct Opener {
    /// With this backend as its store.
    config: Config,
    opening: Opening,
    plugins: AlsoPlugins,
}

impl Opener {
    /// Opens it now, or at the first delivery if it is away.
    async fn open_or_defer(self, also: &Also) -> Result<Arc<dyn StorageBackend>, OpenError> {
        let hasty = Self { opening: self.opening.with_patience(PATIENCE), ..self.clone() };
        match hasty.open().await {
            Ok(backend) => return Ok(backend),
            Err(OpenError::Backend { error, .. }) if error.is_retryable() => {
                tracing::warn!("the backend `{}` of `also` is away; the host starts without it: {error}", also.backend);
            }
            Err(error) => return Err(also.refused(&error.to_string())),
        }
        Ok(Arc::new(Lazy::new(move || {
            let opener = self.clone();
            Box::pin(async move {
                match opener.open().await {
                    Ok(backend) => Ok(backend),
                    Err(OpenError::Backend { error, .. }) => Err(error),
                    Err(other) => Err(StorageError::Configuration(other.to_string())),
                }
            })
        })))
    }

    async fn open(&self) -> Result<Arc<dyn StorageBackend>, OpenError> {
        let OpenStorage { backend, plugin, name, .. } = open_backend(&self.config, &self.opening).await?;
        if let Some(plugin) = plugin {
            if self.config.plugins.reload {
                plugin.reload_on_change(&plugin_file(&name, &self.config)?);
            }
            self.plugins.add(plugin);
        }
        Ok(backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::Loaded;

    fn refusal(toml: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tracing.toml");
        std::fs::write(&file, toml).unwrap();
        let Loaded { config, .. } = Config::load_with(Some(&file), []).unwrap();
        config.check_also().expect_err("an error").to_string()
    }

    #[test]
    fn a_wrong_name_is_an_error_with_the_line_and_what_to_do() {
        let unknown = refusal("[storage]\nalso = [\n  \"postgres\",\n  \"webhok\",\n]\n[plugins]\ndir = \"nowhere\"\n");
        for part in
            ["tracing.toml, line 4", "`also` in `[storage]`", "`webhok`", "[plugins.webhok]", "nowhere/webhok.wasm"]
        {
            assert!(unknown.contains(part), "{part:?} is missing in: {unknown}");
        }
        assert!(!unknown.contains("choose another `backend`"), "{unknown}");
        for (also, part) in [
            ("[\"sqlite\"]", "it is the store itself"),
            ("[\"postgres\", \"postgresql\"]", "it is named twice"),
            ("[\"memory\"]", "only in the memory"),
            ("[\"../x\"]", "it is a path"),
        ] {
            let refused = refusal(&format!("[storage]\nalso = {also}\n"));
            assert!(refused.contains("line 2") && refused.contains(part), "{part:?} is missing in: {refused}");
        }
    }

    #[test]
    fn a_backend_that_is_only_read_is_refused() {
        let refused = refusal("[storage]\nalso = [\"postgres\"]\n[storage.postgres]\nread_only = true\n");
        assert!(refused.contains("line 2") && refused.contains("`read_only`"), "{refused}");
    }
}
