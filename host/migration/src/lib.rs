//! Copies traces from one store into another, into a file and back, whatever the backends.
//!
//! Neither a large store nor a large trace fills the memory: a stream of parts (`store_stream`) is cut into batches (`batch`),
//! which are written several at a time while the next are read (`copy`). Writes are idempotent, so running a copy again
//! completes what was interrupted; a [`Journal`] lets it go on where it was. An export is a stream of the same parts.
//!
//! Programs find all of this in the facade, as `reflow_tracing::migration`.

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
