//! Finds grants with more rights than a store needs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::grants::Databases;
use crate::capabilities::connections::ConnectionBudget;
use crate::policy::PluginConfig;

/// Maximum time for each database.
const PATIENCE: Duration = Duration::from_secs(5);

/// The databases granted to `plugin` whose user can leave the database: a superuser, or one that may read files of the server or
/// run programs there. Each as a warning. A database that can't be reached, or a grant that is not valid, is left out: opening
/// the plugin says so.
pub async fn excessive_grants(plugin: &str, config: &PluginConfig) -> Vec<String> {
    let connections = ConnectionBudget::new(1, &Arc::new(Semaphore::new(1)));
    let Ok(databases) = Databases::new(plugin, config, &connections) else { return Vec::new() };
    let mut warnings = Vec::new();
    for (label, database) in databases.iter() {
        if let Ok(Ok(Some(right))) = timeout(PATIENCE, database.excessive_right()).await {
            warnings.push(format!(
                "plugins.{plugin}.grants.sql.{label}: the user {right}, and so does the plugin. Grant a user that only owns the \
                 tables of the plugin"
            ));
        }
    }
    warnings
}
