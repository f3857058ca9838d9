use std::time::Duration;

use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::range::{self, Number};
use serde::Deserialize;

/// Settings of a [`SqliteStorage`](super::SqliteStorage).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteConfig {
    /// The database file. It and its folder are created if they are missing.
    pub database_path: String,
    /// Whether to open an existing file for reading only. Nothing is created, migrated or written, and writes fail. The file,
    /// its folder and the disk need not be writable.
    pub read_only: bool,
    /// How a transaction is made atomic.
    pub journal_mode: JournalMode,
    /// When SQLite waits for the disk.
    pub synchronous: SynchronousMode,
    /// Page cache in MiB, for the writer and for each reader.
    pub cache_size_mb: u32,
    /// How long to wait for a lock of another process, in milliseconds.
    pub busy_timeout_ms: u32,
    /// The maximum number of concurrent reads. Writes use a connection of their own.
    pub max_connections: u32,
    /// Where SQLite keeps temporary tables.
    pub temp_store: TempStore,
    /// How much of the file to memory-map, in MiB; 0 for none.
    pub mmap_size_mb: u32,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self {
            database_path: "traces.db".into(),
            read_only: false,
            journal_mode: JournalMode::default(),
            synchronous: SynchronousMode::default(),
            cache_size_mb: 64,
            busy_timeout_ms: 5_000,
            max_connections: 10,
            temp_store: TempStore::default(),
            mmap_size_mb: 0,
        }
    }
}

impl SqliteConfig {
    /// The numbers among the settings, with their ranges.
    pub fn numbers(&self) -> Vec<Number> {
        vec![
            Number::new("cache_size_mb", self.cache_size_mb, 0..=range::TEBIBYTE_MB),
            Number::new("busy_timeout_ms", self.busy_timeout_ms, 0..=range::DAY_MS),
            Number::new("max_connections", self.max_connections, 0..=10_000),
            Number::new("mmap_size_mb", self.mmap_size_mb, 0..=range::TEBIBYTE_MB),
        ]
    }

    pub(crate) fn check(&self) -> Result<(), StorageError> {
        range::problem(&self.numbers())
            .map_or(Ok(()), |problem| Err(StorageError::Configuration(format!("in the settings of SQLite: {problem}"))))
    }

    pub(crate) fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout_ms.into())
    }
}

macro_rules! pragma_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
        pub enum $name {
            $($(#[$case_doc])* #[serde(alias = $text)] $case),*
        }

        impl $name {
            /// The value of the pragma.
            pub(crate) fn pragma(self) -> &'static str {
                match self { $(Self::$case => $text),* }
            }
        }
    };
}

pragma_values!(
    /// SQLite's `journal_mode`: how a transaction is made atomic. All modes but `Off` and `Memory` survive a crash of the
    /// process.
    JournalMode {
        /// Write-ahead log: readers and the writer don't block each other.
        #[default]
        WAL = "wal",
        /// Rollback journal, deleted after every transaction.
        Delete = "delete",
        /// Rollback journal, emptied after every transaction.
        Truncate = "truncate",
        /// Rollback journal, overwritten after every transaction.
        Persist = "persist",
        /// Rollback journal in memory. A crash during a transaction can damage the file.
        Memory = "memory",
        /// No journal. A failed transaction can damage the file.
        Off = "off",
    }
);

pragma_values!(
    /// SQLite's `synchronous`: when to wait for the disk. It matters only for a loss of power; a crash of the process alone
    /// loses nothing in any mode.
    SynchronousMode {
        /// Never. A loss of power can damage the file.
        Off = "off",
        /// At checkpoints. With WAL, a loss of power doesn't damage the file but can lose the last transactions.
        #[default]
        Normal = "normal",
        /// At every transaction. A loss of power loses no acknowledged write.
        Full = "full",
        /// As `Full`, and also syncs the folder.
        Extra = "extra",
    }
);

pragma_values!(
    /// SQLite's `temp_store`: where temporary tables and sorts are kept.
    TempStore {
        /// SQLite's compile-time default: files.
        #[default]
        Default = "default",
        /// In files.
        File = "file",
        /// In memory.
        Memory = "memory",
    }
);
