//! `wasi:http/outgoing-handler`: HTTP requests to the origins that the operator granted.
//!
//! Every request is checked. The host follows no redirects, so a plugin that follows one sends another checked request. The
//! address that a name resolves to is checked too. The host adds
//! the headers of the grant, whose secrets the plugin does not see. A connection counts as one of the plugin's connections. It
//! is kept for the next request after the response was read.

mod address;
pub(super) mod host;
mod idle;
mod origins;
mod send;

pub(crate) use origins::Origins;
