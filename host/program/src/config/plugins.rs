use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::backend::BuiltIn;
use reflow_tracing::plugin::PluginConfig;

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
    /// The tables `[plugins.NAME]`, by name.
    pub named: BTreeMap<String, PluginConfig>,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self { dir: "plugins".into(), cache_dir: None, reload: true, max_connections: 1_000, named: BTreeMap::new() }
    }
}

impl PluginsConfig {
    /// The folder for compiled code; `None` when the cache is disabled.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        match &self.cache_dir {
            Some(folder) if folder.as_os_str().is_empty() => None,
            Some(folder) => Some(folder.clone()),
            None => Some(user_caches()?.join("reflow-tracing")),
        }
    }
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
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
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
                        _ => {
                            let Entry(plugin) = map.next_value()?;
                            check_name(&name).map_err(|problem| {
                                A::Error::custom(format!("a plugin can't be named `{name}`: {problem}"))
                            })?;
                            plugins.named.insert(name, plugin);
                        }
                    }
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
                     `cache_dir`, `reload` and `max_connections`",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                PluginConfig::deserialize(MapAccessDeserializer::new(map)).map(Entry)
            }
        }

        deserializer.deserialize_map(Table)
    }
}
