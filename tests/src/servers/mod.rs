//! Servers that tests start for themselves.

/// Redis.
#[cfg(unix)]
pub mod redis;
