use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Settings of a [`Spool`](super::Spool). In a configuration file: the folder, or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// The folder. It is created if it is missing. Only one spool can use it at a time.
    pub dir: PathBuf,
    /// The approximate maximum size of the waiting writes in MiB. Beyond it, writers block.
    pub max_size_mb: u32,
}

impl SpoolConfig {
    /// A spool in this folder, of at most 1024 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), max_size_mb: default_size() }
    }
}

fn default_size() -> u32 {
    1024
}

impl<'de> Deserialize<'de> for SpoolConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            dir: PathBuf,
            #[serde(default = "default_size")]
            max_size_mb: u32,
        }

        struct Spool;

        impl<'de> Visitor<'de> for Spool {
            type Value = SpoolConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a folder, or a table with `dir` and `max_size_mb`")
            }

            fn visit_str<E: Error>(self, dir: &str) -> Result<SpoolConfig, E> {
                match dir {
                    "" => Err(E::custom("the folder of the spool has no name")),
                    dir => Ok(SpoolConfig::new(dir)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SpoolConfig, A::Error> {
                let Table { dir, max_size_mb } = Table::deserialize(MapAccessDeserializer::new(map))?;
                match max_size_mb {
                    0 => Err(A::Error::custom("`max_size_mb` is 0; it must be at least 1")),
                    max_size_mb => Ok(SpoolConfig { dir, max_size_mb }),
                }
            }
        }

        deserializer.deserialize_any(Spool)
    }
}
