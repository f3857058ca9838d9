//! Connections to a SQLite file, each set up the same way.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::SqliteConfig;
use reflow_tracing_storage::StorageError;

/// Opens the file that `config` names, creating it and its folder when missing.
pub fn open(config: &SqliteConfig) -> Result<Connection, StorageError> {
    let path = Path::new(&config.database_path);
    if config.database_path.is_empty() || config.database_path.starts_with(":memory:") {
        let message = format!("database_path {:?} names no file; for a store in memory use the backend `memory`", path);
        return Err(StorageError::Configuration(message));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            StorageError::Configuration(format!("the folder of the database {}: {error}", path.display()))
        })?;
    }
    // No URI file names: a path is a path. One thread at a time uses a connection, so SQLite need not lock it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| describe(path, &error))?;
    configure(&connection, config).map_err(|error| describe(path, &error))?;
    Ok(connection)
}

fn configure(connection: &Connection, config: &SqliteConfig) -> rusqlite::Result<()> {
    connection.busy_timeout(config.busy_timeout())?;
    // Asked of SQLite: a program that was killed while it made the file can leave a length that is about to be undone.
    let pages: u32 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        // To be said before anything is written: later it would take a rewrite of the whole file.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    // Otherwise a statement that bounds a range is compiled anew for every value, in search of a plan that suits it better.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Answers with a row, which is why it isn't in the batch.
    let mode = config.journal_mode.pragma();
    connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {}; PRAGMA temp_store = {}; PRAGMA cache_size = -{}; PRAGMA mmap_size = {};",
        config.synchronous.pragma(),
        config.temp_store.pragma(),
        u64::from(config.cache_size_mb) * 1024,
        u64::from(config.mmap_size_mb) * 1024 * 1024,
    ))
}

/// What an error of SQLite's means to the caller of a store.
pub fn describe(path: &Path, error: &rusqlite::Error) -> StorageError {
    let file = path.display();
    if let rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) = error {
        return StorageError::Corrupt(format!("{file} holds a value that this program did not write: {error}"));
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
            // The words are the same for a dozen causes.
            let code = error.sqlite_extended_error_code().unwrap_or_default();
            StorageError::Configuration(format!(
                "{file} can't be opened for writing: {error} (SQLite's code {code}); check the permissions of the file, \
                 of those beside it whose names begin with its, and of the folder"
            ))
        }
        Some(ErrorCode::TooBig) => StorageError::InvalidArgument(format!("too big for a row of {file}: {error}")),
        _ => StorageError::Other { message: format!("{file}: {error}"), retryable: false },
    }
}
