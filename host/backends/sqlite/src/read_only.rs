//! Opens a SQLite file for reading, without write access to the file, its folder or the disk.
//!
//! SQLite's read-only mode is usually enough. With a write-ahead log, however, processes share an index of the log in a file
//! beside it (`-shm`), which SQLite creates when it is missing. Where that fails, no other process has the log open. If the log is
//! empty, too, the file is opened as immutable: SQLite then reads the file alone, without locks. `Reader::check` finds out
//! whether another process began to write meanwhile.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use reflow_tracing_storage::StorageError;
use rusqlite::ffi::SQLITE_READONLY_ROLLBACK;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::config::SqliteConfig;
use super::connection::{describe, file_name};
use super::disk::check_room;
use super::reserve::Reserve;

/// A connection to a file.
pub struct Reader {
    /// The connection.
    pub connection: Connection,
    /// What must hold while it is used, if it takes no locks.
    unchanged: Option<Unchanged>,
}

impl From<Connection> for Reader {
    /// A connection that takes locks.
    fn from(connection: Connection) -> Self {
        Self { connection, unchanged: None }
    }
}

impl Reader {
    /// Call this after each read. Fails with [`StorageError::Unavailable`] if another process began to write, so that what was
    /// read does not count; open the file again then.
    pub fn check(&self) -> Result<(), StorageError> {
        self.unchanged.as_ref().map_or(Ok(()), Unchanged::check)
    }
}

/// The state of a file that nobody writes.
struct Unchanged {
    file: PathBuf,
    log: PathBuf,
    state: (u64, SystemTime),
}

impl Unchanged {
    /// `None` if the log holds transactions, or the file can't be seen.
    fn new(file: PathBuf) -> Option<Self> {
        let mut log = OsString::from(&file);
        log.push("-wal");
        let unchanged = Self { state: state(&file)?, file, log: log.into() };
        unchanged.is_log_empty().then_some(unchanged)
    }

    fn is_log_empty(&self) -> bool {
        match self.log.metadata() {
            Ok(log) => log.len() == 0,
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.is_log_empty() && state(&self.file) == Some(self.state) {
            return Ok(());
        }
        Err(StorageError::Unavailable(format!(
            "another program began to write to {} while it was read; try again",
            self.file.display()
        )))
    }
}

/// The length and the time of the last change.
fn state(file: &Path) -> Option<(u64, SystemTime)> {
    let file = file.metadata().ok()?;
    Some((file.len(), file.modified().ok()?))
}

/// Opens the file that `config` names for reading.
///
/// If a program was killed during a transaction with a rollback journal, SQLite first rolls it back, which needs write access.
pub fn open(config: &SqliteConfig) -> Result<Reader, StorageError> {
    let path = file_name(config)?;
    check_exists(path)?;
    let opened = |flags, name: &Path| connect(config, name, flags);
    let mut first = opened(OpenFlags::SQLITE_OPEN_READ_ONLY, path);
    let reserve = Reserve::of(path);
    if first.as_ref().is_err_and(may_need_write_access)
        && let Err(StorageError::Exhausted(_)) = check_room(path)
        && reserve.release()
    {
        // The index of the log, which a killed program did not leave behind, takes a few kilobytes.
        first = opened(OpenFlags::SQLITE_OPEN_READ_ONLY, path);
        // Where there is no room for both, that is for deleting all the same.
        let _ = reserve.make();
    }
    let error = match first {
        Ok(connection) => return Ok(connection.into()),
        Err(error) => error,
    };
    if error.sqlite_extended_error_code() == Some(SQLITE_READONLY_ROLLBACK) {
        return opened(OpenFlags::SQLITE_OPEN_READ_WRITE, path)
            .and_then(|_| opened(OpenFlags::SQLITE_OPEN_READ_ONLY, path))
            .map(Reader::from)
            .map_err(|_| {
                StorageError::Configuration(format!(
                    "{} can't be read: a program was killed while it wrote, and what it left unfinished can't be undone \
                     without write access to the file and its folder ({error}); open it once with write access",
                    path.display()
                ))
            });
    }
    if !may_need_write_access(&error) {
        return Err(describe(path, &error));
    }
    let Some(unchanged) = path.canonicalize().ok().and_then(Unchanged::new) else {
        if let Err(StorageError::Exhausted(full)) = check_room(path) {
            return Err(StorageError::Exhausted(format!(
                "{} can't be read: its newest transactions are in the file beside it whose name ends in -wal, and reading that takes a \
                 few kilobytes on the disk; free space on it ({full})",
                path.display()
            )));
        }
        return Err(StorageError::Configuration(format!(
            "{} can't be read: its newest transactions are in the file beside it whose name ends in -wal, and reading that needs \
             write access to the folder while no host runs ({error}); read it as a user who has it, or copy the files whose \
             names begin with its to another folder",
            path.display()
        )));
    };
    let connection = connect(
        config,
        Path::new(&immutable(&unchanged.file)),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
    );
    match connection {
        Ok(connection) => Ok(Reader { connection, unchanged: Some(unchanged) }),
        Err(error) => Err(match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                StorageError::Configuration(format!(
                    "{} can't be read: {error}; check the permissions of the file and of its folder",
                    path.display()
                ))
            }
            _ => describe(path, &error),
        }),
    }
}

fn check_exists(path: &Path) -> Result<(), StorageError> {
    let file = path.display();
    let problem = match path.metadata() {
        Ok(found) if found.is_dir() => format!("{file} is a folder; name a SQLite file"),
        Ok(found) if found.len() > 0 => return Ok(()),
        Ok(_) => format!(
            "{file} is empty, so nothing can be read from it. `reflow-tracing serve` makes it a store; or name another file"
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => format!(
            "{file} does not exist, so nothing can be read from it. `reflow-tracing serve` creates it; or name another file"
        ),
        Err(error) => format!("{file} can't be read: {error}"),
    };
    Err(StorageError::Configuration(problem))
}

fn connect(config: &SqliteConfig, name: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(config.busy_timeout())?;
    // The first statement that reads the file.
    connection.pragma_query_value(None, "schema_version", |_| Ok(()))?;
    Ok(connection)
}

/// Whether SQLite may have failed because it could not create or write a file beside the database.
fn may_need_write_access(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
        )
    )
}

/// The URI of a file that nobody writes.
fn immutable(file: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}
