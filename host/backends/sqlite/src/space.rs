//! Gives room back to the file system: free pages of the file, and the log.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reflow_tracing_storage::StorageError;
use rusqlite::{Connection, ErrorCode};

use crate::connection::{LOG_LIMIT, describe};
use crate::disk;
use crate::reserve::Reserve;

/// Pages that are returned to the file system in one transaction: a few milliseconds of work.
const PAGES: u32 = 256;
/// While writes wait, pages are returned no more often than this.
const PAUSE: Duration = Duration::from_millis(100);
/// Where this much is free, no write is too large.
const PLENTY: u64 = 1 << 30;

/// The room of one database.
pub(super) struct Space {
    path: PathBuf,
    log: PathBuf,
    reserve: Reserve,
    busy_timeout: Duration,
    /// Whether there may be pages to give back.
    is_pending: bool,
    last_step: Instant,
}

impl Space {
    pub(super) fn new(path: PathBuf, busy_timeout: Duration) -> Self {
        let mut log = disk::real(&path).into_os_string();
        log.push("-wal");
        let reserve = Reserve::of(&path);
        Self { path, log: log.into(), reserve, busy_timeout, is_pending: true, last_step: Instant::now() }
    }

    /// For each write, whether there is room on the disk for about so many bytes. What adds nothing has room.
    ///
    /// A write goes to the log first and from there to the file, and a log that can't be moved to the file keeps its room for
    /// ever. So there must be room for both, and for what the log already holds.
    pub(super) fn admit(&self, connection: &Connection, writes: &[u64]) -> Vec<Result<(), StorageError>> {
        let admitted = self.admit_beside_log(connection, writes);
        // SQLite keeps the log for later; here it is in the way.
        if admitted.iter().any(Result::is_err) && self.log_len() > 0 && self.empty_log(connection) {
            return self.admit_beside_log(connection, writes);
        }
        admitted
    }

    fn admit_beside_log(&self, connection: &Connection, writes: &[u64]) -> Vec<Result<(), StorageError>> {
        let mut room = match self.room(connection, writes.iter().any(|bytes| *bytes > 0)) {
            Ok(room) => room,
            Err(error) => {
                let refused = |bytes: &u64| if *bytes > 0 { Err(error.clone()) } else { Ok(()) };
                return writes.iter().map(refused).collect();
            }
        };
        writes.iter().map(|bytes| room.as_mut().map_or(Ok(()), |room| room.take(*bytes, &self.path))).collect()
    }

    /// The room for writes; `None` if there is plenty, or nothing is asked for. Fails if the rest of the disk is for deleting.
    fn room(&self, connection: &Connection, is_asked: bool) -> Result<Option<Room>, StorageError> {
        if !is_asked {
            return Ok(None);
        }
        self.reserve.ensure()?;
        let Some(free) = disk::available(&self.path).filter(|free| *free < PLENTY) else { return Ok(None) };
        let (size, unused): (u64, u64) = connection
            .prepare_cached(include_str!("sql/room.sql"))
            .and_then(|mut size| size.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
            .map_err(|error| describe(&self.path, &error))?;
        let only_in_log = size.saturating_sub(self.path.metadata().map_or(0, |file| file.len()));
        Ok(Some(Room { free: free.saturating_sub(only_in_log), unused }))
    }

    /// Gives up the reserve, for what frees room on a full disk. Returns whether there was one, for
    /// [`put_back`](Self::put_back).
    pub(super) fn give_up_reserve(&self, connection: &Connection) -> bool {
        let had_reserve = self.reserve.release();
        self.empty_log(connection);
        had_reserve
    }

    /// Makes the reserve again, as far as there is room now.
    pub(super) fn put_back(&self, connection: &Connection, had_reserve: bool) {
        self.empty_log(connection);
        if had_reserve && let Err(error) = self.reserve.make() {
            tracing::debug!("the reserve of {} was not made again yet: {error}", self.path.display());
        }
    }

    /// Makes a log short again that holds what was rolled back, so that it does not keep the rest of the disk.
    pub(super) fn after_full(&self, connection: &Connection) {
        if self.log_len() > LOG_LIMIT && !self.empty_log(connection) {
            // It holds pages that the file does not have yet, or a reader needs it.
            let had_reserve = self.give_up_reserve(connection);
            self.put_back(connection, had_reserve);
        }
    }

    fn log_len(&self) -> u64 {
        self.log.metadata().map_or(0, |log| log.len())
    }

    /// Moves the log to the database and cuts it off. Returns whether no reader or full disk prevented that.
    fn empty_log(&self, connection: &Connection) -> bool {
        // A long read must not hold up the writer.
        let emptied = connection.busy_timeout(Duration::ZERO).and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(!row.get::<_, bool>(0)?))
        });
        connection.busy_timeout(self.busy_timeout).is_ok() && emptied.unwrap_or(false)
    }

    /// Notes that there may be pages to give back.
    pub(super) fn freed(&mut self) {
        self.is_pending = true;
    }

    /// Whether there may be pages to give back.
    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Whether it is time to give back, although writes wait.
    pub(super) fn is_due(&self) -> bool {
        self.is_pending && self.last_step.elapsed() >= PAUSE
    }

    /// Gives some pages back. Returns how many are left. After an error, [`freed`](Self::freed) has it tried again.
    pub(super) fn step(&mut self, connection: &Connection) -> Result<u64, StorageError> {
        let mut given = give_back(connection);
        if given.as_ref().is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DiskFull)) {
            let had_reserve = self.give_up_reserve(connection);
            given = give_back(connection);
            self.put_back(connection, had_reserve);
        }
        self.last_step = Instant::now();
        self.is_pending = false;
        let given = given.map_err(|error| describe(&self.path, &error))?;
        let Some(left) = given else { return Ok(0) };
        self.is_pending = left > 0;
        if left == 0 {
            // What shortens the file is in the log.
            self.empty_log(connection);
        }
        Ok(left)
    }
}

/// Room on a disk that is nearly full.
struct Room {
    free: u64,
    /// Within the file.
    unused: u64,
}

impl Room {
    /// Takes the room for a write of `bytes`. Fails if there is too little; a smaller write may have room.
    fn take(&mut self, bytes: u64, path: &Path) -> Result<(), StorageError> {
        let reused = bytes.min(self.unused);
        let needed = bytes + (bytes - reused);
        if needed > self.free {
            return Err(StorageError::Exhausted(format!(
                "the disk of {} is full: {} KiB are free, and the write needs about {} KiB; free space on it, or delete traces with \
                 `reflow-tracing retain`",
                path.display(),
                self.free / 1024,
                needed / 1024
            )));
        }
        self.free -= needed;
        self.unused -= reused;
        Ok(())
    }
}

/// Returns free pages to the file system. Returns how many are left; `None` if there were none, or the file keeps them.
fn give_back(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let free = || connection.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get::<_, u64>(0));
    let before = free()?;
    if before == 0 {
        return Ok(None);
    }
    // It returns a row for each page.
    let mut vacuum = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    drop(pages);
    Ok(Some(free()?).filter(|left| *left < before))
}

#[cfg(test)]
mod tests;
