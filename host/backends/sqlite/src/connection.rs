//! Opens connections to a SQLite file, all with the same settings.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::config::SqliteConfig;
use reflow_tracing_storage::StorageError;

/// A log (or a rollback journal that stays) is cut to this length when it begins anew: more than it usually grows to, 4 MB. One
/// that a long read or a large transaction let grow gives its room back.
pub(crate) const LOG_LIMIT: u64 = 5 << 20;

/// Opens the file that `config` names. Creates the file and its folder if they are missing.
pub fn open(config: &SqliteConfig) -> Result<Connection, StorageError> {
    let path = file_name(config)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            StorageError::Configuration(format!("can't create the folder of the database {}: {error}", path.display()))
        })?;
    }
    // URI file names are off, so that every path is valid. Only one thread at a time uses a connection, so no mutex is needed.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| describe(path, &error))?;
    configure(&connection, config).map_err(|error| describe(path, &error))?;
    Ok(connection)
}

/// The file that `config` names. Fails on settings out of their range.
pub(crate) fn file_name(config: &SqliteConfig) -> Result<&Path, StorageError> {
    config.check()?;
    let path = Path::new(&config.database_path);
    if config.database_path.is_empty() || config.database_path.starts_with(":memory:") {
        let message =
            format!("database_path {:?} is not a file name; use the backend `memory` for a store in memory", path);
        return Err(StorageError::Configuration(message));
    }
    Ok(path)
}

fn configure(connection: &Connection, config: &SqliteConfig) -> rusqlite::Result<()> {
    connection.busy_timeout(config.busy_timeout())?;
    // Ask SQLite, not the file system: if a program was killed while it created the file, the length may be rolled back.
    let pages: u32 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        // Must be set before the first write; later it requires a rewrite of the whole file.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    // These pragmas return a row, so they can't be part of the batch.
    let mode = config.journal_mode.pragma();
    connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {LOG_LIMIT}"), [], |_| Ok(()))?;
    connection.execute_batch(&format!("PRAGMA synchronous = {}", config.synchronous.pragma()))?;
    configure_reads(connection, config)
}

/// Applies the settings that concern reads.
pub(crate) fn configure_reads(connection: &Connection, config: &SqliteConfig) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    // Without this, SQLite compiles a statement with a range again for every value, to find a better plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(&format!(
        "PRAGMA temp_store = {}; PRAGMA cache_size = -{}; PRAGMA mmap_size = {};",
        config.temp_store.pragma(),
        u64::from(config.cache_size_mb) * 1024,
        u64::from(config.mmap_size_mb) * 1024 * 1024,
    ))
}

/// Converts an error of SQLite.
pub fn describe(path: &Path, error: &rusqlite::Error) -> StorageError {
    let file = path.display();
    if let rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) = error {
        return StorageError::Corrupt(format!("{file} contains a value that another program wrote: {error}"));
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StorageError::Unavailable(format!(
            "{file} is locked by another process ({error}); try again, or raise busy_timeout_ms"
        )),
        Some(ErrorCode::DiskFull) => StorageError::Exhausted(format!("the disk of {file} is full: {error}")),
        Some(ErrorCode::SystemIoFailure) => StorageError::Unavailable(format!("{file}: {error}")),
        Some(ErrorCode::NotADatabase) => {
            StorageError::Configuration(format!("{file} is not a SQLite database ({error}); name another file"))
        }
        Some(ErrorCode::DatabaseCorrupt) => StorageError::Corrupt(format!(
            "{file}: {error}; stop every program that uses it, then salvage it with the sqlite3 shell's .recover, or \
             restore a backup"
        )),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            // SQLite uses the same message for many causes, so the code helps.
            let code = error.sqlite_extended_error_code().unwrap_or_default();
            StorageError::Configuration(format!(
                "{file} can't be opened for writing: {error} (SQLite's code {code}); check the permissions of the file, \
                 of those beside it whose names begin with its, and of the folder"
            ))
        }
        // A trigger or an index that somebody added: a matter of a row.
        Some(ErrorCode::ConstraintViolation) => StorageError::InvalidArgument(format!("refused by {file}: {error}")),
        Some(ErrorCode::TooBig) => {
            StorageError::InvalidArgument(format!("a value is too large for a row of {file}: {error}"))
        }
        _ => StorageError::Other { message: format!("{file}: {error}"), retryable: false },
    }
}
