//! The SQLite backend, the default.
//!
//! One thread writes (`writer`), and several readers work in parallel. The tables are in `sql/schema.sql`, the views for users
//! of the file in `sql/views.sql`.

mod backend;
mod column;
mod config;
/// Connections to a SQLite file, also for other packages of this workspace.
pub mod connection;
/// Checks for free disk space.
pub mod disk;
mod event;
mod foreign;
mod header;
mod leases;
/// A pool of connections to a SQLite file.
pub mod pool;
mod read;
/// Opens SQLite files for reading only.
pub mod read_only;
mod reserve;
mod rows;
mod schema;
mod select;
mod space;
mod stream;
#[cfg(test)]
mod tests;
mod write;
mod writer;

pub use backend::SqliteStorage;
pub use config::{JournalMode, SqliteConfig, SynchronousMode, TempStore};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
