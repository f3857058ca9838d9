//! All end-to-end tests.

mod author;
mod client;
mod component_files;
mod conformance;
mod crash;
mod hostile;
mod life_cycle;
mod mistakes;
mod recording;
mod repeated_crash;
mod sqlite_crash;
mod two_hosts;
