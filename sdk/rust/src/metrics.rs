//! The plugin's own metrics, exported with the host's.
//!
//! A name consists of lower-case letters, digits and `_`, and begins with a letter. The host adds the plugin's name. A plugin
//! can have 100 names, each of one kind; the host ignores others.
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

/// Adds to a counter.
pub fn count(name: &str, by: u64) {
    metrics::count(name, by);
}

/// Sets a gauge.
pub fn gauge(name: &str, value: f64) {
    metrics::gauge(name, value);
}

/// Adds an observation to a histogram, for example a duration in seconds.
pub fn observe(name: &str, value: f64) {
    metrics::observe(name, value);
}
