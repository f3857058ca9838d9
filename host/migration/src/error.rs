use std::path::PathBuf;

use reflow_tracing_storage::StorageError;

/// Why a migration, an export or an import ended early. What was stored until then is whole, and doing it again completes it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The store that is read failed.
    #[error("the source can't be read: {0}")]
    Source(StorageError),
    /// The store that is written failed.
    #[error("the target can't be written: {0}")]
    Target(StorageError),
    /// The store that was written could not be read again, to compare.
    #[error("the target can't be read to verify it: {0}")]
    Verification(StorageError),
    /// A file can't be read or written.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A line of an export is not what was written.
    #[error("{}, line {line}: {problem}; nothing was imported", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on. Of a compressed file: once it is decompressed.
        line: u64,
        /// What is wrong with it.
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
