//! Copies traces between stores, and exports and imports files, for every backend.
//!
//! Memory is bounded regardless of the size of the store and its traces: a stream of parts (`store_stream`) is split into
//! batches (`batch`), which are written several at a time while the next ones are read (`copy`). Writes are idempotent, so
//! running an interrupted copy again completes it; with a [`Journal`] it continues where it stopped. An export is a stream of
//! the same parts.
//!
//! Programs use the facade, `reflow_tracing::migration`.

mod backup;
mod batch;
mod copy;
mod counts;
mod digest;
mod error;
mod journal;
#[cfg(feature = "sqlite")]
mod legacy;
mod listing;
mod migrator;
mod read_ahead;
mod report;
mod store_stream;
mod verify;

pub use backup::{Backup, ExportFile};
pub use copy::{CopyOptions, OnProgress};
pub use digest::{Checksum, Digest};
pub use error::MigrationError;
pub use journal::Journal;
#[cfg(feature = "sqlite")]
pub use legacy::LegacySqlite;
pub use migrator::StorageMigrator;
pub use report::{MigrationReport, Progress, Verification};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
