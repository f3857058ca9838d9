//! The databases that the operator granted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reflow_tracing_storage::StorageError;

use super::database::Database;
use super::server::{Server, ServerLimits};
use super::sqlite::SqliteFile;
use crate::capabilities::connections::ConnectionBudget;
use crate::policy::{PluginConfig, shown_scheme};

/// The databases of a plugin, by label. All of its instances share them.
pub(crate) struct Databases {
    by_label: BTreeMap<String, Arc<dyn Database>>,
}

impl Databases {
    /// The databases granted to `plugin`. Does not open them yet.
    pub(crate) fn new(
        plugin: &str,
        config: &PluginConfig,
        connections: &ConnectionBudget,
    ) -> Result<Self, StorageError> {
        let limits = ServerLimits { call_timeout: config.limits.call_timeout(), connections: connections.clone() };
        let database = |(label, url): (&String, &String)| {
            let database = database(url, &limits).map_err(|problem| {
                StorageError::Configuration(format!("plugins.{plugin}.grants.sql.{label}: {problem}"))
            })?;
            Ok((label.clone(), database))
        };
        Ok(Self { by_label: config.grants.sql.iter().map(database).collect::<Result<_, StorageError>>()? })
    }

    /// The paths of the databases that are files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.by_label.values().filter_map(|database| database.file())
    }

    /// All of them, by label.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Arc<dyn Database>)> {
        self.by_label.iter()
    }

    pub(super) fn get(&self, label: &str) -> Option<Arc<dyn Database>> {
        self.by_label.get(label).cloned()
    }
}

/// The database at `url`. Errors never show the URL, because it may contain a password.
fn database(url: &str, limits: &ServerLimits) -> Result<Arc<dyn Database>, String> {
    let (scheme, rest) = url.trim().split_once(':').unwrap_or_default();
    match scheme {
        "sqlite" => match rest.strip_prefix("//").unwrap_or(rest) {
            "" => Err("the path is missing; write sqlite:PATH, with the path of a file".into()),
            path => Ok(Arc::new(SqliteFile::new(path, &limits.connections))),
        },
        "postgresql" | "postgres" => Ok(Arc::new(Server::<sqlx::Postgres>::new(url, limits)?)),
        "mysql" | "mariadb" => Ok(Arc::new(Server::<sqlx::MySql>::new(url, limits)?)),
        other => Err(format!(
            "`{}:..` is not a supported database; write sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE or \
             mysql://USER:PASSWORD@HOST/DATABASE (or mariadb://..)",
            shown_scheme(other)
        )),
    }
}
