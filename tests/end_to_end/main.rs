//! All end-to-end tests.

mod client;
mod conformance;
mod crash;
mod hostile;
mod mistakes;
mod recording;
mod repeated_crash;
mod sql;
mod sqlite_crash;
mod two_hosts;
