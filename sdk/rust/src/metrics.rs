//! The plugin's own figures, shown among the host's.
//!
//! A name is of lower-case letters, digits and `_`, and begins with a letter; the host adds the plugin's name. It keeps 100
//! names, each of one kind, and ignores what it can't keep.
//!
//! ```no_run
//! use reflow_tracing_plugin::metrics;
//!
//! fn upload(parts: &[&[u8]]) {
//!     for part in parts {
//!         metrics::count("uploads", 1);
//!         metrics::observe("upload_bytes", part.len() as f64);
//!     }
//!     metrics::gauge("parts_waiting", 0.0);
//! }
//! ```

use crate::bindings::reflow::capabilities::metrics;

/// Adds to a figure that only grows.
pub fn count(name: &str, by: u64) {
    metrics::count(name, by);
}

/// Sets a figure that goes up and down.
pub fn gauge(name: &str, value: f64) {
    metrics::gauge(name, value);
}

/// Adds one observation to a distribution, for example a duration in seconds.
pub fn observe(name: &str, value: f64) {
    metrics::observe(name, value);
}
