//! All end-to-end tests.

mod client;
mod conformance;
mod crash;
mod hostile;
mod mistakes;
mod recording;
mod redis;
mod redis_capability;
mod repeated_crash;
mod sqlite_crash;
mod two_hosts;
