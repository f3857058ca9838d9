//! Calls the `maintain` of a plugin from time to time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use reflow_tracing_storage::task::Supervised;

use super::Supervisor;
use crate::contract::function::Function;

/// The contract says "about once a minute".
const INTERVAL: Duration = Duration::from_secs(60);

/// Starts the task. Must be called within a Tokio runtime.
pub(crate) fn start(supervisor: &Arc<Supervisor>) -> Supervised {
    let supervisor = Arc::downgrade(supervisor);
    Supervised::start("maintenance of the plugin", move || go_on(supervisor.clone()))
}

async fn go_on(supervisor: Weak<Supervisor>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(plugin) = supervisor.upgrade() else { return };
        // A new version may have the function, or not have it any more.
        if !plugin.component().has_maintenance() {
            continue;
        }
        let maintained = plugin.call(Function::Maintain, || async |store, exports| exports.maintain(store).await).await;
        if let Err(error) = maintained {
            tracing::warn!(
                plugin = plugin.plugin(),
                "its maintenance failed, and is called again in {INTERVAL:?}: {error}"
            );
        }
    }
}
