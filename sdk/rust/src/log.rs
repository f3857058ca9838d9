//! The host's log.

pub use crate::bindings::reflow::capabilities::log::Level;
use crate::bindings::reflow::capabilities::log::log;

/// Writes `message` to the host's log, which adds the plugin's name.
pub fn write(level: Level, message: impl AsRef<str>) {
    log(level, message.as_ref());
}
