use std::time::Duration;

use serde::Deserialize;

/// How a [`SqliteStorage`](super::SqliteStorage) keeps its file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteConfig {
    /// The database file. It is created with its folder when it is missing.
    pub database_path: String,
    /// How a transaction is made atomic.
    pub journal_mode: JournalMode,
    /// When SQLite waits for the disk.
    pub synchronous: SynchronousMode,
    /// Page cache of the writer and of each reader, in MiB.
    pub cache_size_mb: u32,
    /// How long to wait for another process that has the file locked, in milliseconds.
    pub busy_timeout_ms: u32,
    /// The most queries that read at the same time. Writes have a connection of their own.
    pub max_connections: u32,
    /// Where temporary tables live.
    pub temp_store: TempStore,
    /// How much of the file is read through a memory map, in MiB; 0 for none.
    pub mmap_size_mb: u32,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self {
            database_path: "traces.db".into(),
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
    /// SQLite's `journal_mode`: how a transaction is made atomic. All but `Off` and `Memory` survive a killed process.
    JournalMode {
        /// Write-ahead log: readers and the writer don't wait for one another.
        #[default]
        WAL = "wal",
        /// Rollback journal, deleted after every transaction.
        Delete = "delete",
        /// Rollback journal, emptied after every transaction.
        Truncate = "truncate",
        /// Rollback journal, overwritten after every transaction.
        Persist = "persist",
        /// Rollback journal in memory: a process killed in a transaction can leave a damaged file.
        Memory = "memory",
        /// No journal: a failed transaction can leave a damaged file.
        Off = "off",
    }
);

pragma_values!(
    /// SQLite's `synchronous`: when it waits until the disk has what it wrote. It matters when the machine loses power;
    /// the death of the process alone loses nothing in any mode.
    SynchronousMode {
        /// Never. After a loss of power the file may be damaged.
        Off = "off",
        /// At checkpoints. With WAL the file stays sound after a loss of power; the last transactions may be missing.
        #[default]
        Normal = "normal",
        /// At every transaction. A loss of power loses nothing that was acknowledged.
        Full = "full",
        /// As `Full`, and the folder too.
        Extra = "extra",
    }
);

pragma_values!(
    /// SQLite's `temp_store`: where temporary tables and sorts live.
    TempStore {
        /// As SQLite was compiled: files.
        #[default]
        Default = "default",
        /// In files.
        File = "file",
        /// In memory.
        Memory = "memory",
    }
);
