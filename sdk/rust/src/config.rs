//! The plugin's own settings: the table `[plugins.NAME.config]`. [`Backend::open`](crate::Backend::open) gets all of them
//! as one JSON object, too.
//!
//! ```no_run
//! use reflow_tracing_plugin::{Result, StorageError, config};
//!
//! fn keep_days() -> Result<u32> {
//!     let Some(days) = config::get("keep_days") else { return Ok(30) };
//!     days.parse().map_err(|_| StorageError::InvalidArgument(format!("keep_days: {days} is not a number of days")))
//! }
//! ```

use crate::bindings::reflow::capabilities::config;

/// The setting as JSON (a text has quotes); `None` when it is not set.
pub fn get(name: &str) -> Option<String> {
    config::get(name)
}

/// The names of the settings, in order.
pub fn names() -> Vec<String> {
    config::names()
}
