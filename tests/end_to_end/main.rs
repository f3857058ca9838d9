//! All end-to-end tests.

mod client;
mod conformance;
mod crash;
mod hostile;
mod life_cycle;
mod mistakes;
#[cfg(unix)]
mod postgres;
mod recording;
mod repeated_crash;
mod sqlite_crash;
mod two_hosts;
