//! `wasi:http/outgoing-handler`: HTTP requests to the origins that the operator granted.
//!
//! Every request is checked. The host follows no redirects, so a plugin that follows one sends another checked request. A
//! connection serves one request and counts as one of the plugin's connections until the response is read or dropped.

pub(super) mod host;
mod origins;
mod send;

pub(crate) use origins::Origins;
