//! Reports the errors of a bucket: the operator gets addresses and paths in the log, the plugin an error without them.

use std::fmt::Display;
use std::sync::Arc;

use crate::capabilities::log::PluginLog;
use crate::contract::bindings::reflow::capabilities::keyvalue::KeyvalueError;

pub(super) struct ErrorReporter {
    pub label: String,
    pub log: Arc<PluginLog>,
}

impl ErrorReporter {
    /// Writes `error` to the host's log and returns `redacted`, the error for the plugin.
    pub(super) fn report(&self, error: &dyn Display, redacted: KeyvalueError) -> KeyvalueError {
        self.log.warn(&format!("the keyvalue bucket `{}` failed: {error}", self.label));
        redacted
    }

    /// The error when no connection became free in time.
    pub(super) fn too_many_connections(&self) -> KeyvalueError {
        KeyvalueError::Unavailable(format!(
            "too many connections are in use; raise plugins.{}.limits.connections",
            self.log.plugin()
        ))
    }
}
