//! A client of a running host, over Reflow's protocol.
//!
//! [`Connection`] sends requests and receives answers and notifications. [`HostStore`] is the host's store, for reading.

mod connection;
mod error;
#[cfg(test)]
pub mod fake_host;
mod store;
#[cfg(test)]
mod tests;
mod url;

pub use connection::Connection;
pub use error::ClientError;
pub use store::HostStore;
pub use url::HostUrl;
