use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::sqlite;
use crate::plugin::capabilities::ConnectionBudget;
use crate::plugin::policy::Grants;
use crate::storage::StorageError;
use crate::storage::sqlite::SqliteConfig;
use crate::storage::sqlite::pool::Pool;

/// The databases of a plugin, by label. All of its instances share them.
pub(crate) struct Databases {
    by_label: BTreeMap<String, Database>,
}

/// A database that was granted.
#[derive(Clone)]
pub(super) struct Database {
    pub pool: Pool,
    /// SQLite lets one write at a time. Who waits here is let in as soon as the other is done; who waits in SQLite polls.
    pub writing: Arc<Semaphore>,
    pub connections: ConnectionBudget,
}

impl Databases {
    /// What `plugin` was granted. Opens nothing yet.
    pub(crate) fn new(plugin: &str, grants: &Grants, connections: &ConnectionBudget) -> Result<Self, StorageError> {
        let database = |(label, url): (&String, &String)| {
            let path = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
            match path.filter(|path| !path.is_empty()) {
                Some(path) => Ok((label.clone(), Database::sqlite(path, connections))),
                None => Err(StorageError::Configuration(format!(
                    "plugins.{plugin}.grants.sql.{label}: `{url}` is no database that can be granted; \
                     write sqlite:PATH, with the path of a file"
                ))),
            }
        };
        Ok(Self { by_label: grants.sql.iter().map(database).collect::<Result<_, _>>()? })
    }

    pub(super) fn get(&self, label: &str) -> Option<Database> {
        self.by_label.get(label).cloned()
    }
}

impl Database {
    fn sqlite(path: &str, connections: &ConnectionBudget) -> Self {
        let config = SqliteConfig {
            database_path: path.into(),
            max_connections: u32::try_from(connections.limit()).unwrap_or(u32::MAX),
            ..SqliteConfig::default()
        };
        Self {
            pool: Pool::new(config, sqlite::confine),
            writing: Arc::new(Semaphore::new(1)),
            connections: connections.clone(),
        }
    }
}
