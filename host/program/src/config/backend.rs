//! The backends, by name.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// A backend that needs no plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// In the memory of the host process.
    Memory,
    /// A SQLite file.
    Sqlite,
    /// A PostgreSQL database.
    Postgres,
    /// A ClickHouse database, on one server or a cluster.
    ClickHouse,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Sqlite, Self::Postgres, Self::ClickHouse];

    /// Their names, in the same order.
    pub fn names() -> [&'static str; 4] {
        Self::ALL.map(Self::name)
    }

    /// The name in the configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::ClickHouse => "clickhouse",
        }
    }

    /// The backend with this name, in any case; `None` when it is not a built-in one. Reflow has two more names for `postgres`.
    pub fn from_name(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let named = Self::ALL.into_iter().find(|backend| is(backend.name()));
        named.or_else(|| ["postgresql", "timescale"].into_iter().any(is).then_some(Self::Postgres))
    }

    /// Whether it runs in the process of its caller, and so can't be unavailable.
    pub const fn is_local(self) -> bool {
        match self {
            Self::Memory | Self::Sqlite => true,
            Self::Postgres | Self::ClickHouse => false,
        }
    }
}

impl fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The setting `backend`. A name that is not built in is a plugin's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Backend {
    /// Needs no plugin.
    BuiltIn(BuiltIn),
    /// The plugin with this name.
    Plugin(Arc<str>),
}

impl Backend {
    /// The name in the configuration.
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(backend) => backend.name(),
            Self::Plugin(name) => name,
        }
    }

    /// Whether it can't be unavailable. Of a plugin this is unknown, so the answer is `false`.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::BuiltIn(backend) if backend.is_local())
    }
}

/// An entry of the setting `also`: a backend that gets every write besides the store.
#[derive(Debug, Clone)]
pub struct Also {
    /// The backend.
    pub backend: Backend,
    /// Its bytes in the text of the configuration.
    pub span: Range<usize>,
    /// Where that is, for errors: the file and the line.
    pub place: String,
}

impl PartialEq for Also {
    fn eq(&self, other: &Self) -> bool {
        self.backend == other.backend
    }
}

impl<'de> Deserialize<'de> for Also {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = Spanned::<Backend>::deserialize(deserializer)?;
        Ok(Self { span: entry.span(), place: "`[storage]`".into(), backend: entry.into_inner() })
    }
}

impl From<&str> for Backend {
    fn from(name: &str) -> Self {
        BuiltIn::from_name(name).map_or_else(|| Self::Plugin(name.into()), Self::BuiltIn)
    }
}

impl From<String> for Backend {
    fn from(name: String) -> Self {
        name.as_str().into()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_built_in_is_a_plugin() {
        for backend in BuiltIn::ALL {
            assert_eq!(BuiltIn::from_name(backend.name()), Some(backend));
            assert_eq!(Backend::from(backend.name()), Backend::BuiltIn(backend));
        }
        assert_eq!(Backend::from("ledger"), Backend::Plugin("ledger".into()));
        assert_eq!(Backend::from("SQLite"), Backend::BuiltIn(BuiltIn::Sqlite));
        assert_eq!(Backend::from("postgresql"), Backend::BuiltIn(BuiltIn::Postgres));
        assert_eq!(Backend::from("timescale"), Backend::BuiltIn(BuiltIn::Postgres));
    }
}
