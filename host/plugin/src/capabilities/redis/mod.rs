//! `reflow:capabilities/redis`: Redis servers that the operator granted, by label.
//!
//! A handle to a server does not hold a connection: each call leases one exclusively. So an idle plugin takes no connection
//! from others, and after a restart of the server the next call connects again.

mod commands;
mod connection;
mod host;
mod prefix;
mod reply;
mod servers;
mod stream;
mod template;

pub use connection::Connection;
pub(crate) use servers::Servers;
