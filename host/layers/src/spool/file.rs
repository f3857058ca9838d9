//! The file of a spool, used by one process at a time and checked when it is opened.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

use super::record::{Encoded, decode_traces, kib};
use reflow_tracing_model::TraceId;
use reflow_tracing_sqlite::connection::{describe, open};
use reflow_tracing_sqlite::disk::check_room;
use reflow_tracing_sqlite::{JournalMode, SqliteConfig, SynchronousMode};
use reflow_tracing_storage::{SpoolMetrics, StorageError};

/// Marks our files in SQLite's header ("RFSP").
const APPLICATION_ID: i32 = 0x5246_5350;
/// Version 2 keeps what headers and events have beyond the first version of the model.
const VERSION: i32 = 2;
/// Its records are read as those of today.
const READABLE_VERSION: i32 = 1;

/// The maximum of one read, unless the first record is larger.
const CHUNK_EVENTS: u64 = 5_000;
const CHUNK_BYTES: usize = 8 * 1024 * 1024;

pub(crate) struct SpoolFile {
    connection: Connection,
    path: PathBuf,
    /// The setting of `[storage]` that names the folder.
    setting: &'static str,
    /// Held while the file is in use. The operating system releases it when the process dies.
    _lock: File,
}

/// The contents of a file when it was opened.
#[derive(Default)]
pub(crate) struct Found {
    pub records: u64,
    pub traces: u64,
    pub events: u64,
    pub kib: u64,
    pub refused: u64,
    pub last: i64,
    /// The record with the newest header of each trace.
    pub headers: HashMap<TraceId, i64>,
}

/// A stored record.
pub(crate) struct Row {
    pub seq: i64,
    pub traces: u64,
    pub events: u64,
    pub body: Vec<u8>,
    pub is_sound: bool,
}

/// A write that the backend rejected.
pub(crate) struct Refused {
    pub error: String,
    pub trace_id: Option<TraceId>,
    pub json: Option<String>,
    pub body: Option<Vec<u8>>,
}

/// What waits in the queue in `dir`, which a host may be using; `None` if there is none.
pub(crate) fn look(dir: &Path) -> Result<Option<SpoolMetrics>, StorageError> {
    let path = dir.join("spool.db");
    if !path.exists() {
        return Ok(None);
    }
    let look = || {
        let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut found = SpoolMetrics::default();
        let counts =
            "SELECT coalesce(sum(traces), 0), coalesce(sum(events), 0), coalesce(sum(length(body)), 0) FROM record";
        connection.query_row(counts, [], |row| {
            (found.pending_traces, found.pending_events, found.bytes) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(())
        })?;
        found.refused = connection.query_row("SELECT count(*) FROM refused", [], |row| row.get(0))?;
        Ok(found)
    };
    look().map(Some).map_err(|error| describe(&path, &error))
}

impl SpoolFile {
    /// Opens the spool in `dir`, or creates it, and checks every waiting record.
    pub(crate) fn open(dir: &Path, backend: &str, setting: &'static str) -> Result<(Self, Found), StorageError> {
        let problem = |error: std::io::Error| {
            StorageError::Configuration(format!("the spool {} can't be used: {error}", dir.display()))
        };
        std::fs::create_dir_all(dir).map_err(problem)?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(problem)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError::Configuration(format!(
                    "the spool {} is in use by another process; give each host a folder of its own with `{setting}` in \
                     `[storage]`",
                    dir.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(problem(error)),
        }
        let path = dir.join("spool.db");
        let name = path.to_str().ok_or_else(|| {
            StorageError::Configuration(format!("the path {} is not Unicode; SQLite needs one that is", path.display()))
        })?;
        let connection = open(&SqliteConfig {
            database_path: name.into(),
            journal_mode: JournalMode::WAL,
            // Acknowledged writes must survive a loss of power too, because the backend doesn't have them.
            synchronous: SynchronousMode::Full,
            cache_size_mb: 8,
            ..SqliteConfig::default()
        })?;
        let mut file = Self { connection, path, setting, _lock: lock };
        file.prepare()?;
        let found = file.check()?;
        file.set_target(backend, found.records)?;
        Ok((file, found))
    }

    /// Checks that the disk has space for an append.
    pub(crate) fn check_room(&self) -> Result<(), StorageError> {
        check_room(&self.path)
    }

    pub(crate) fn describe(&self, error: &rusqlite::Error) -> StorageError {
        describe(&self.path, error)
    }

    fn prepare(&mut self) -> Result<(), StorageError> {
        let path = self.path.clone();
        let on_error = |error: rusqlite::Error| describe(&path, &error);
        let transaction = self.connection.transaction().map_err(on_error)?;
        let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(on_error);
        let (application_id, version) = (pragma("application_id")?, pragma("user_version")?);
        let tables: u32 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(on_error)?;
        match (application_id, version) {
            (APPLICATION_ID, VERSION) => return Ok(()),
            (APPLICATION_ID, READABLE_VERSION) => {
                // From now on a program of that version would lose a part of the records that follow.
                transaction.pragma_update(None, "user_version", VERSION).map_err(on_error)?;
                return transaction.commit().map_err(on_error);
            }
            (APPLICATION_ID, version) => {
                return Err(StorageError::Configuration(format!(
                    "the spool {} has version {version}, but this program supports version {READABLE_VERSION} and {VERSION}; start the program that wrote it once more to drain it",
                    path.display()
                )));
            }
            _ if tables > 0 => {
                return Err(StorageError::Configuration(format!(
                    "{} is not a spool but a database of another program; name another folder with `{}` in `[storage]`",
                    path.display(),
                    self.setting
                )));
            }
            _ => {}
        }
        transaction.execute_batch(include_str!("sql/schema.sql")).map_err(on_error)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(on_error)?;
        transaction.pragma_update(None, "user_version", VERSION).map_err(on_error)?;
        transaction.commit().map_err(on_error)
    }

    /// Reads all records. Fails at a damaged one, so that the operator decides before the host starts.
    fn check(&self) -> Result<Found, StorageError> {
        let mut found = Found::default();
        let mut look = || -> rusqlite::Result<Option<i64>> {
            let mut select =
                self.connection.prepare("SELECT seq, traces, events, checksum, body FROM record ORDER BY seq")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let row = Row::read(row)?;
                let traces = if row.is_sound { decode_traces(&row.body).ok() } else { None };
                let Some(traces) = traces else { return Ok(Some(row.seq)) };
                found.records += 1;
                found.traces += row.traces;
                found.events += row.events;
                found.kib += u64::from(kib(&row.body));
                found.last = row.seq;
                found.headers.extend(traces.into_iter().map(|trace| (trace.trace_id, row.seq)));
            }
            found.refused = self.connection.query_row("SELECT count(*) FROM refused", [], |row| row.get(0))?;
            Ok(None)
        };
        match look().map_err(|error| self.describe(&error))? {
            None => Ok(found),
            Some(damaged) => Err(StorageError::Corrupt(format!(
                "the spool {} is damaged at record {damaged}; the {} records before it are sound. Delete that row with the \
                 sqlite3 shell (DELETE FROM record WHERE seq = {damaged}) to discard its writes, or move the file away to \
                 start with an empty spool",
                self.path.display(),
                found.records
            ))),
        }
    }

    /// Records which backend the writes are for, and rejects waiting writes for another one.
    fn set_target(&self, backend: &str, waiting: u64) -> Result<(), StorageError> {
        let on_error = |error| self.describe(&error);
        let target: Option<String> = self
            .connection
            .query_row("SELECT backend FROM target", [], |row| row.get(0))
            .optional()
            .map_err(on_error)?;
        match target {
            Some(target) if target == backend => Ok(()),
            Some(target) if waiting > 0 => Err(StorageError::Configuration(format!(
                "in the spool {} writes wait for the backend `{target}`, not for `{backend}`: run the host with that one until \
                 they are stored, or name another folder with `{}` in `[storage]`",
                self.path.display(),
                self.setting
            ))),
            _ => {
                let change = self
                    .connection
                    .execute_batch("DELETE FROM target")
                    .and_then(|()| self.connection.execute("INSERT INTO target (backend) VALUES (?1)", [backend]));
                change.map(|_| ()).map_err(on_error)
            }
        }
    }

    /// Appends records in one transaction, which is on the disk when this returns. Returns their numbers.
    pub(crate) fn append<'a>(&mut self, records: impl Iterator<Item = &'a Encoded>) -> rusqlite::Result<Vec<i64>> {
        let transaction = self.connection.transaction()?;
        let mut numbers = Vec::new();
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO record (traces, events, checksum, body) VALUES (?1, ?2, ?3, ?4)")?;
            for Encoded { traces, events, body } in records {
                numbers.push(insert.insert(params![traces.len(), *events, crc32fast::hash(body), &body[..]])?);
            }
        }
        transaction.commit()?;
        Ok(numbers)
    }

    /// The oldest records.
    pub(crate) fn next(&self) -> rusqlite::Result<Vec<Row>> {
        let mut select =
            self.connection.prepare_cached("SELECT seq, traces, events, checksum, body FROM record ORDER BY seq")?;
        let mut rows = select.query([])?;
        let (mut chunk, mut events, mut bytes) = (Vec::new(), 0, 0);
        while events < CHUNK_EVENTS
            && bytes < CHUNK_BYTES
            && let Some(row) = rows.next()?
        {
            let row = Row::read(row)?;
            events += row.events + row.traces;
            bytes += row.body.len();
            chunk.push(row);
        }
        Ok(chunk)
    }

    pub(crate) fn read(&self, seq: i64) -> rusqlite::Result<Option<Row>> {
        let sql = "SELECT seq, traces, events, checksum, body FROM record WHERE seq = ?1";
        self.connection.prepare_cached(sql)?.query_row([seq], Row::read).optional()
    }

    /// Removes the records up to `until`, which were stored, and keeps the rejected writes.
    pub(crate) fn remove(&mut self, until: i64, refused: &[Refused]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.prepare_cached("DELETE FROM record WHERE seq <= ?1")?.execute([until])?;
        refused.iter().try_for_each(|refused| refused.keep(&transaction))?;
        transaction.commit()
    }

    /// Returns free space to the file system.
    pub(crate) fn shrink(&self) -> rusqlite::Result<()> {
        // Each step returns a page.
        let mut vacuum = self.connection.prepare_cached("PRAGMA incremental_vacuum")?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
        drop(pages);
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let body: Vec<u8> = row.get(4)?;
        let is_sound = crc32fast::hash(&body) == row.get::<_, u32>(3)?;
        Ok(Self { seq: row.get(0)?, traces: row.get(1)?, events: row.get(2)?, is_sound, body })
    }
}

impl Refused {
    fn keep(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let sql = "INSERT INTO refused (refused_at, error, trace_id, json, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        transaction.prepare_cached(sql)?.execute(params![
            Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            self.error,
            self.trace_id.map(|trace_id| trace_id.to_string()),
            self.json,
            self.body,
        ])?;
        Ok(())
    }
}
