use std::path::PathBuf;

use reflow_tracing_storage::StorageError;

/// Why a migration, an export or an import failed. What was stored is consistent, and running it again completes it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// Reading the source failed.
    #[error("the source can't be read: {0}")]
    Source(StorageError),
    /// Writing to the target failed.
    #[error("the target can't be written: {0}")]
    Target(StorageError),
    /// Reading the target for verification failed.
    #[error("the target can't be read to verify it: {0}")]
    Verification(StorageError),
    /// A file can't be read or written.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The problem and the remedy.
        problem: String,
    },
    /// A line of an export is damaged.
    #[error("{}, line {line}: {problem}; nothing was imported", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line number from 1 on, after decompression.
        line: u64,
        /// The problem.
        problem: String,
    },
}

impl From<MigrationError> for StorageError {
    fn from(error: MigrationError) -> Self {
        let message = error.to_string();
        match error {
            MigrationError::Source(error) | MigrationError::Target(error) | MigrationError::Verification(error) => {
                error
            }
            MigrationError::File { .. } => Self::Other { message, retryable: false },
            MigrationError::Damaged { .. } => Self::Corrupt(message),
        }
    }
}
