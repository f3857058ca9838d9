//! A client of OCI registries, as far as plugins need one: a component is an artifact with one layer, as `wkg` stores it.
//!
//! A registry is not trusted: every answer is bounded in bytes and time, every content is compared with its digest, and
//! credentials go only to the registry, or to the token server that it names, over TLS. Decision 0023 says why this is not a library.

mod artifact;
mod authentication;
mod client;
mod credentials;
mod reference;
#[cfg(test)]
mod tests;
mod transport;

pub use artifact::MAX_COMPONENT_BYTES;
pub use client::Registry;
pub use credentials::VARIABLES;
pub use reference::{Digest, Reference};
