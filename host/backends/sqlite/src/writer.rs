//! Group commit on the one thread that writes.
//!
//! SQLite has one writer at a time, and a transaction costs far more than a row. So every write goes through the
//! [queue](reflow_tracing_storage::write_queue) to one thread, which stores a batch in one transaction and answers its callers
//! after the commit.

use std::path::PathBuf;
use std::time::Duration;

use hashlink::LruCache;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::connection::describe;
use super::event;
use super::header::HeaderRow;
use super::leases;
use super::read::sequence_of;
use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::sql::EventRow;
use reflow_tracing_storage::task::contain_blocking;
use reflow_tracing_storage::write_queue::{Batch, Batches, Entry, Limits, Size, Split, WriteQueue};
use uuid::Uuid;

const LIMITS: Limits = Limits {
    name: "the SQLite writer",
    total: Size::new(40_000, 128 << 20),
    // Bounds how long a caller waits for its transaction.
    batch: Size::new(5_000, 32 << 20),
    full: Size::new(5_000, 32 << 20),
    at_once: 1,
    patience: None,
};
/// The maximum number of pages that are returned to the file system after a deletion, so that it doesn't take long.
const VACUUM_PAGES: u32 = 2_000;
/// The number of traces whose sequence number is cached: more than are recorded at one time.
const KNOWN_TRACES: usize = 50_000;

pub(super) enum Write {
    Store {
        headers: Vec<HeaderRow>,
        events: Vec<EventRow>,
    },
    /// Holds the traces for a host, and stores the headers of those that have none.
    Begin(Uuid, Vec<HeaderRow>),
    /// Holds the traces no more, and stores the headers with an end of those that have not ended and that no host holds.
    Leave(Uuid, Vec<HeaderRow>),
    /// The result is 1 if the lease was valid.
    RenewLease(Uuid, Duration),
    /// A batch that doesn't take long.
    DeleteTraces(Vec<TraceId>),
    /// Nanoseconds since the epoch, exclusive.
    DeleteBefore(i64),
    /// Stores nothing; fails if the file can't be written.
    Check,
    /// Moves committed transactions from the log to the file, and waits for the disk.
    Checkpoint,
}

impl Write {
    fn size(&self) -> Size {
        match self {
            Self::Store { headers, events } => {
                let bytes = events.iter().map(EventRow::bytes).sum::<usize>() + headers.len() * HeaderRow::BYTES;
                Size::new(headers.len() + events.len(), bytes)
            }
            Self::Begin(_, headers) | Self::Leave(_, headers) => {
                Size::new(headers.len(), headers.len() * HeaderRow::BYTES)
            }
            _ => Size::new(1, 0),
        }
    }
}

struct Job {
    write: Write,
    size: Size,
}

impl Entry for Job {
    /// What [`Writer::write`] returns.
    type Answer = Result<u64, StorageError>;

    fn size(&self) -> Size {
        self.size
    }
}

/// Sends writes to the writer's thread, which ends when this is dropped.
pub(super) struct Writer {
    queue: WriteQueue<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection, path: PathBuf) -> Result<Self, StorageError> {
        let (queue, batches) = WriteQueue::new(LIMITS);
        let thread = Thread { path, sequences: LruCache::new(KNOWN_TRACES), data_version: 0 };
        std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || thread.work(connection, &batches))
            .map_err(|error| StorageError::Unavailable(format!("no thread for the SQLite writer: {error}")))?;
        Ok(Self { queue })
    }

    /// Runs `write`. Returns after the commit, with the number of deleted traces or whether a lease was valid.
    pub(super) async fn write(&self, write: Write) -> Result<u64, StorageError> {
        let size = write.size();
        self.queue.write(Job { write, size }).await?
    }
}

struct Thread {
    path: PathBuf,
    /// The sequence numbers of recently used traces.
    sequences: LruCache<TraceId, i64>,
    /// SQLite's counter of commits by other connections.
    data_version: i64,
}

impl Thread {
    fn work(mut self, mut connection: Connection, batches: &Batches<Job>) {
        while let Some(batch) = batches.blocking_next() {
            let mut is_committed = false;
            // A panic affects only this batch, which was rolled back and is answered when it is dropped.
            contain_blocking(LIMITS.name, || {
                self.commit(&mut connection, batch);
                is_committed = true;
            });
            if !is_committed {
                self.sequences.clear();
            }
        }
    }

    fn commit(&mut self, connection: &mut Connection, batch: Batch<Job>) {
        let Batch { entries: jobs, answers, .. } = batch;
        let mut counts = vec![0; jobs.len()];
        let mut split = Split::new(jobs.len());
        while let Some(part) = split.next() {
            split.outcome(match self.transact(connection, &jobs[part.clone()]) {
                Ok(of_part) => {
                    counts[part].copy_from_slice(&of_part);
                    Ok(())
                }
                Err(error) => {
                    // It may contain traces that were rolled back.
                    self.sequences.clear();
                    Err(describe(&self.path, &error))
                }
            });
        }
        let is_checkpoint = |job: &Job| matches!(job.write, Write::Checkpoint);
        let checkpoint = jobs.iter().any(is_checkpoint).then(|| self.checkpoint(connection));
        let deleted = jobs.iter().any(|job| matches!(job.write, Write::DeleteTraces(_) | Write::DeleteBefore(_)));
        let outcomes = jobs.iter().zip(split.outcomes()).zip(counts).map(|((job, outcome), count)| {
            outcome.clone()?;
            match &checkpoint {
                Some(checkpoint) if is_checkpoint(job) => checkpoint.clone().map(|()| count),
                _ => Ok(count),
            }
        });
        answers.send(outcomes);
        if deleted && let Err(error) = return_free_pages(connection) {
            // The next deletion tries again.
            tracing::debug!("free pages of {} were not returned to the file system: {error}", self.path.display());
        }
    }

    /// Applies all jobs in one transaction. Returns the result of each.
    fn transact(&mut self, connection: &mut Connection, jobs: &[Job]) -> rusqlite::Result<Vec<u64>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let data_version = transaction.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if data_version != self.data_version {
            // Another process wrote, and may have deleted traces.
            self.sequences.clear();
            self.data_version = data_version;
        }
        let counts =
            jobs.iter().map(|job| self.apply(&transaction, &job.write)).collect::<rusqlite::Result<Vec<_>>>()?;
        transaction.commit()?;
        Ok(counts)
    }

    fn checkpoint(&self, connection: &Connection) -> Result<(), StorageError> {
        let blocked = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get::<_, bool>(0));
        match blocked.map_err(|error| describe(&self.path, &error))? {
            false => Ok(()),
            true => Err(StorageError::Unavailable(format!(
                "a reader of {} keeps the newest transactions in its log, where they are safe from the death of the \
                 process; flush again once it has ended",
                self.path.display()
            ))),
        }
    }

    fn apply(&mut self, transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<u64> {
        match write {
            Write::Store { headers, events } => {
                self.store_events(transaction, events)?;
                headers.iter().try_for_each(|header| self.store_header(transaction, header))?;
                Ok(0)
            }
            Write::Begin(host, headers) => {
                for row in headers {
                    leases::hold(transaction, *host, row.header.trace_id)?;
                    if !self.has(
                        transaction,
                        "SELECT 1 FROM trace WHERE trace_id = ?1 AND start_time IS NOT NULL",
                        row,
                    )? {
                        self.store_header(transaction, row)?;
                    }
                }
                Ok(0)
            }
            Write::Leave(host, headers) => {
                for row in headers {
                    let is_last = leases::leave(transaction, *host, row.header.trace_id)?;
                    let ended = "SELECT 1 FROM trace WHERE trace_id = ?1 AND end_time IS NOT NULL";
                    if is_last && row.header.end_time.is_some() && !self.has(transaction, ended, row)? {
                        self.store_header(transaction, row)?;
                    }
                }
                Ok(0)
            }
            Write::RenewLease(host, duration) => Ok(leases::renew(transaction, *host, *duration)?.into()),
            Write::DeleteTraces(trace_ids) => {
                let mut deleted = 0;
                for trace_id in trace_ids {
                    self.sequences.remove(trace_id);
                    if let Some(sequence) = sequence_of(transaction, *trace_id)? {
                        deleted += delete(transaction, sequence)?;
                    }
                }
                Ok(deleted)
            }
            Write::DeleteBefore(time) => {
                let old = transaction
                    .prepare_cached("SELECT seq FROM trace WHERE start_time < ?1")?
                    .query_map([time], |row| row.get(0))?
                    .collect::<rusqlite::Result<Vec<i64>>>()?;
                self.sequences.clear();
                old.into_iter().map(|sequence| delete(transaction, sequence)).sum()
            }
            Write::Check | Write::Checkpoint => Ok(0),
        }
    }

    fn store_header(&mut self, transaction: &Transaction<'_>, row: &HeaderRow) -> rusqlite::Result<()> {
        let sequence = row.store(&mut *transaction.prepare_cached(include_str!("sql/store_trace.sql"))?)?;
        self.sequences.insert(row.header.trace_id, sequence);
        transaction.prepare_cached("DELETE FROM tag WHERE trace = ?1")?.execute([sequence])?;
        let mut add_tag = transaction.prepare_cached("INSERT INTO tag (trace, name, value) VALUES (?1, ?2, ?3)")?;
        for (name, value) in &row.header.metadata.tags {
            add_tag.execute(params![sequence, name, value])?;
        }
        Ok(())
    }

    fn has(&self, transaction: &Transaction<'_>, sql: &str, row: &HeaderRow) -> rusqlite::Result<bool> {
        transaction.prepare_cached(sql)?.exists([row.header.trace_id.0.as_bytes()])
    }

    fn store_events(&mut self, transaction: &Transaction<'_>, events: &[EventRow]) -> rusqlite::Result<()> {
        let mut store = transaction.prepare_cached(include_str!("sql/store_event.sql"))?;
        for event in events {
            let sequence = match self.sequences.get(&event.trace_id) {
                Some(sequence) => *sequence,
                None => self.sequence(transaction, event.trace_id)?,
            };
            event::store(event, &mut store, sequence)?;
        }
        Ok(())
    }

    /// The sequence number of a trace. Adds the trace if it is unknown.
    fn sequence(&mut self, transaction: &Transaction<'_>, trace_id: TraceId) -> rusqlite::Result<i64> {
        let sequence = match sequence_of(transaction, trace_id)? {
            Some(sequence) => sequence,
            None => transaction
                .prepare_cached("INSERT INTO trace (trace_id) VALUES (?1) RETURNING seq")?
                .query_row([trace_id.0.as_bytes()], |row| row.get(0))?,
        };
        self.sequences.insert(trace_id, sequence);
        Ok(sequence)
    }
}

/// Returns free pages to the file system.
fn return_free_pages(connection: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum")?;
    let mut pages = vacuum.query([])?;
    for _ in 0..VACUUM_PAGES {
        // Each step returns one page.
        if pages.next()?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Deletes a trace with its events and tags. Returns the number of traces, 1.
fn delete(transaction: &Transaction<'_>, sequence: i64) -> rusqlite::Result<u64> {
    for statement in
        ["DELETE FROM event WHERE trace = ?1", "DELETE FROM tag WHERE trace = ?1", "DELETE FROM trace WHERE seq = ?1"]
    {
        transaction.prepare_cached(statement)?.execute([sequence])?;
    }
    Ok(1)
}
