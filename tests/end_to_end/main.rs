//! All end-to-end tests.

mod capabilities;
mod client;
mod conformance;
mod crash;
mod hostile;
mod http;
mod keyvalue;
mod mistakes;
mod probe;
mod recording;
mod repeated_crash;
mod sqlite_crash;
mod two_hosts;
