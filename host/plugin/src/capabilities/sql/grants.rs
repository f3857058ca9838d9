use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reflow_tracing_storage::StorageError;

use super::Database;
use super::server::{Server, ServerLimits};
use super::sqlite::SqliteFile;
use crate::capabilities::ConnectionBudget;
use crate::policy::PluginConfig;

/// The databases of a plugin, by label. All of its instances share them.
pub(crate) struct Databases {
    by_label: BTreeMap<String, Arc<dyn Database>>,
}

impl Databases {
    /// What `plugin` was granted. Opens nothing yet.
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

    /// Those that are files of the host's.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.by_label.values().filter_map(|database| database.file())
    }

    pub(super) fn get(&self, label: &str) -> Option<Arc<dyn Database>> {
        self.by_label.get(label).cloned()
    }
}

/// The database at `url`, or what is wrong with it. A URL may hold a password, so it is never repeated.
fn database(url: &str, limits: &ServerLimits) -> Result<Arc<dyn Database>, String> {
    let (scheme, rest) = url.split_once(':').unwrap_or_default();
    match scheme {
        "sqlite" => match rest.strip_prefix("//").unwrap_or(rest) {
            "" => Err("the path is missing; write sqlite:PATH, with the path of a file".into()),
            path => Ok(Arc::new(SqliteFile::new(path, &limits.connections))),
        },
        "postgresql" | "postgres" => Ok(Arc::new(Server::<sqlx::Postgres>::new(url, limits)?)),
        "mysql" | "mariadb" => Ok(Arc::new(Server::<sqlx::MySql>::new(url, limits)?)),
        scheme => Err(format!(
            "`{scheme}:..` is no database that can be granted; write sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE \
             or mysql://USER:PASSWORD@HOST/DATABASE (mariadb:// is the same)"
        )),
    }
}
