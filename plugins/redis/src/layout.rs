//! The version of the layout of the keys. It identifies a store written by an earlier version of this plugin, whose indexes are
//! incomplete for this version.

use reflow_tracing_plugin::redis::{Command, Connection, Reply};
use reflow_tracing_plugin::{Result, StorageError};

use crate::key;

/// The layout that [`key`](crate::key) describes.
const VERSION: &str = "2";

/// Stores the version. Runs with every write.
pub fn note() -> Command {
    Command::new("SET").arg(key::LAYOUT).arg(VERSION)
}

/// Fails on a store in another layout.
pub fn check(server: &Connection) -> Result<()> {
    let mut replies = server.run([Command::new("GET").arg(key::LAYOUT), Command::new("EXISTS").arg(key::TRACES)])?;
    let (traces, version) = (replies.pop(), replies.pop());
    let found = match (version.and_then(Reply::into_bytes), traces.and_then(|traces| traces.as_integer())) {
        (Some(version), _) => String::from_utf8_lossy(&version).into_owned(),
        (None, Some(1)) => "1".into(),
        (None, _) => return Ok(()),
    };
    if found == VERSION {
        return Ok(());
    }
    Err(StorageError::Unsupported(format!(
        "the server has traces in layout {found} of the plugin `redis`, but this version of the plugin has layout {VERSION}: \
         grant it another database or prefix, and migrate the traces there with the version that wrote them"
    )))
}
