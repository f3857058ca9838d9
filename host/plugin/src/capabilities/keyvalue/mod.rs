//! `reflow:capabilities/keyvalue`: ordered buckets that the operator granted, by label.
//!
//! [`Bucket`] checks sizes and cursors for all buckets. Each kind of bucket is a [`Store`](store::Store) in its own file.

mod bucket;
mod error_reporter;
mod file;
mod grants;
mod host;
mod memory;
mod redis;
mod store;
#[cfg(test)]
mod tests;

pub use bucket::Bucket;
pub(crate) use grants::Buckets;
