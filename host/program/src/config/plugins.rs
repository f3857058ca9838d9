use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::backend::BuiltIn;
use crate::trust::{Lock, PublicKey, read_signatures, signature_file, verify};
use reflow_tracing::plugin::{Admission, CompilerProcess, PluginConfig, PluginRuntimeConfig};

/// The table `[plugins]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginsConfig {
    /// The folder that holds `NAME.wasm`.
    pub dir: PathBuf,
    /// The folder that caches compiled code between starts; an empty path disables the cache. The default is
    /// `reflow-tracing` in the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// Whether a running host reloads a plugin when its file changes.
    pub reload: bool,
    /// The most connections that all plugins together may have open.
    pub max_connections: usize,
    /// The most memory that the compilation of a plugin may take, in MiB.
    pub compile_memory_mb: NonZeroU32,
    /// The most processor time that it may take, in seconds.
    pub compile_cpu_s: NonZeroU32,
    /// Whether a plugin must have a signature of one of `trusted_keys`.
    pub require_signed: bool,
    /// The public keys whose signatures count.
    pub trusted_keys: Vec<PublicKey>,
    /// The tables `[plugins.NAME]`, by name.
    pub named: BTreeMap<String, PluginConfig>,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self {
            dir: "plugins".into(),
            cache_dir: None,
            reload: true,
            max_connections: 1_000,
            compile_memory_mb: NonZeroU32::new(2_048).expect("it is not 0"),
            compile_cpu_s: NonZeroU32::new(300).expect("it is not 0"),
            require_signed: false,
            trusted_keys: Vec::new(),
            named: BTreeMap::new(),
        }
    }
}

impl PluginsConfig {
    /// Decides which files a host loads: those that `plugins.lock` has, or that were not installed, and signed ones where that is
    /// required.
    pub(super) fn admission(&self) -> Admission {
        let Self { dir, require_signed, trusted_keys, .. } = self.clone();
        Arc::new(move |name, file, sha256| {
            Lock::read(&dir)?.check(&dir, name, sha256)?;
            if require_signed {
                check_signed(file, sha256, &trusted_keys)?;
            }
            Ok(())
        })
    }

    /// The settings of what runs plugins. A plugin is compiled by this program, in a process of its own.
    pub(crate) fn runtime(&self) -> PluginRuntimeConfig {
        let compiler = this_program().map(|program| CompilerProcess {
            program,
            arguments: vec!["compile-plugin".into()],
            memory_mb: self.compile_memory_mb.get(),
            cpu_s: self.compile_cpu_s.get(),
        });
        PluginRuntimeConfig { cache_dir: self.cache_dir(), max_connections: self.max_connections, compiler }
    }

    /// The folder for compiled code; `None` when the cache is disabled.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        match &self.cache_dir {
            Some(folder) if folder.as_os_str().is_empty() => None,
            Some(folder) => Some(folder.clone()),
            None => Some(user_caches()?.join("reflow-tracing")),
        }
    }
}

/// The program that this process runs, also when its file was replaced meanwhile.
fn this_program() -> Option<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Some(running.to_owned()) } else { std::env::current_exe().ok() }
}

/// Refuses a file that none of the keys signed.
pub(crate) fn check_signed(file: &Path, sha256: &str, trusted: &[PublicKey]) -> Result<(), String> {
    let signed = read_signatures(file)?.ok_or_else(|| {
        format!(
            "it is not signed ({} is missing), and `require_signed` in `[plugins]` is true: sign it with `reflow-tracing plugin sign`, \
             or install it from where it was published with its signature",
            signature_file(file).display()
        )
    })?;
    let problem =
        |problem| format!("{}: {problem}; `require_signed` in `[plugins]` is true", signature_file(file).display());
    verify(&signed, sha256, trusted).map_err(problem)
}

/// The user's cache folder.
fn user_caches() -> Option<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        Some(folder("HOME")?.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))
    }
}

/// Checks the name of a plugin, which becomes part of a path. The error says what is wrong.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("it is empty")
    } else if name.contains(['/', '\\', '\0']) || name == "." || name == ".." {
        Err("it is a path; set the file with `file` in the plugin's table")
    } else if BuiltIn::from_name(name).is_some() {
        Err("it is a built-in backend")
    } else {
        Ok(())
    }
}

/// Written by hand: `#[serde(flatten)]` would lose the line numbers of errors.
impl<'de> Deserialize<'de> for PluginsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = PluginsConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the table `[plugins]`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut plugins = PluginsConfig::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "dir" => plugins.dir = map.next_value()?,
                        "cache_dir" => plugins.cache_dir = Some(map.next_value()?),
                        "reload" => plugins.reload = map.next_value()?,
                        "max_connections" => plugins.max_connections = map.next_value()?,
                        "compile_memory_mb" => plugins.compile_memory_mb = map.next_value()?,
                        "compile_cpu_s" => plugins.compile_cpu_s = map.next_value()?,
                        "require_signed" => plugins.require_signed = map.next_value()?,
                        "trusted_keys" => plugins.trusted_keys = map.next_value()?,
                        _ => {
                            let Entry(plugin) = map.next_value()?;
                            check_name(&name).map_err(|problem| {
                                A::Error::custom(format!("a plugin can't be named `{name}`: {problem}"))
                            })?;
                            plugins.named.insert(name, plugin);
                        }
                    }
                }
                if plugins.require_signed && plugins.trusted_keys.is_empty() {
                    return Err(A::Error::custom(
                        "`require_signed` needs `trusted_keys`, the public keys whose signatures count",
                    ));
                }
                Ok(plugins)
            }
        }

        deserializer.deserialize_map(Table)
    }
}

/// A plugin's table, with an error that helps after a misspelt `dir`.
struct Entry(PluginConfig);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a table: `[plugins.NAME]` describes the plugin NAME; the settings of `[plugins]` itself are `dir`, \
                     `cache_dir`, `reload`, `max_connections`, `compile_memory_mb`, `compile_cpu_s`, `require_signed` and \
                     `trusted_keys`",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                PluginConfig::deserialize(MapAccessDeserializer::new(map)).map(Entry)
            }
        }

        deserializer.deserialize_map(Table)
    }
}
