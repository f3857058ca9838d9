//! The one thread that writes: group commit.
//!
//! SQLite has one writer at a time, and a transaction costs far more than a row. So every write goes through the
//! [queue](reflow_tracing_storage::write_queue) to one thread, which puts a batch into one transaction and answers everyone
//! once it is committed.

use std::path::PathBuf;

use hashlink::LruCache;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::connection::describe;
use super::event::EventRow;
use super::header::HeaderRow;
use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::task::contain_blocking;
use reflow_tracing_storage::write_queue::{Batch, Batches, Entry, Limits, Size, Split, WriteQueue};

const LIMITS: Limits = Limits {
    name: "the SQLite writer",
    total: Size::new(40_000, 128 << 20),
    // So that no one waits too long for a transaction.
    batch: Size::new(5_000, 32 << 20),
    full: Size::new(5_000, 32 << 20),
    at_once: 1,
    patience: None,
};
/// Pages that are given back to the disk after a deletion.
const VACUUM_PAGES: u32 = 2_000;
/// Traces whose sequence number is remembered: what is being recorded at one time, and then some.
const KNOWN_TRACES: usize = 50_000;

pub(super) enum Write {
    Store {
        headers: Vec<HeaderRow>,
        events: Vec<EventRow>,
    },
    /// So many that no one waits long for it.
    DeleteTraces(Vec<TraceId>),
    /// Nanoseconds since the epoch, exclusive.
    DeleteBefore(i64),
    /// Nothing; finds out whether the file can be written.
    Check,
    /// Moves what was committed from the log to the file and waits for the disk.
    Checkpoint,
}

impl Write {
    fn size(&self) -> Size {
        match self {
            Self::Store { headers, events } => {
                let bytes = events.iter().map(EventRow::bytes).sum::<usize>() + headers.len() * HeaderRow::BYTES;
                Size::new(headers.len() + events.len(), bytes)
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
    /// The number of traces that were deleted.
    type Answer = Result<u64, StorageError>;

    fn size(&self) -> Size {
        self.size
    }
}

/// The way to the writer's thread, which ends when the last one is dropped.
#[derive(Clone)]
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

    /// Does `write`; `Ok` once it is committed, with the number of traces that it deleted.
    pub(super) async fn write(&self, write: Write) -> Result<u64, StorageError> {
        let size = write.size();
        self.queue.write(Job { write, size }).await?
    }
}

struct Thread {
    path: PathBuf,
    /// The sequence numbers of traces that were seen lately, by trace id.
    sequences: LruCache<TraceId, i64>,
    /// SQLite's counter of what other connections have committed.
    data_version: i64,
}

impl Thread {
    fn work(mut self, mut connection: Connection, batches: &Batches<Job>) {
        while let Some(batch) = batches.blocking_next() {
            let mut is_committed = false;
            // A panic costs its own batch, which was rolled back and is answered as it is dropped.
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
                    // What was rolled back may be in there.
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
        if deleted && let Err(error) = give_back_pages(connection) {
            // What was deleted is deleted; the next deletion tries again.
            tracing::debug!("freed pages of {} were not given back: {error}", self.path.display());
        }
    }

    /// All of the group in one transaction.
    fn transact(&mut self, connection: &mut Connection, group: &[Job]) -> rusqlite::Result<Vec<u64>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let data_version = transaction.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if data_version != self.data_version {
            // Another process wrote: traces may be gone.
            self.sequences.clear();
            self.data_version = data_version;
        }
        let counts =
            group.iter().map(|job| self.apply(&transaction, &job.write)).collect::<rusqlite::Result<Vec<_>>>()?;
        transaction.commit()?;
        Ok(counts)
    }

    /// Moves what was committed to the file and waits for the disk.
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
            Write::DeleteTraces(trace_ids) => {
                let mut find = transaction.prepare_cached("SELECT seq FROM trace WHERE trace_id = ?1")?;
                let mut deleted = 0;
                for trace_id in trace_ids {
                    self.sequences.remove(trace_id);
                    if let Some(sequence) = find.query_row([trace_id.0.as_bytes()], |row| row.get(0)).optional()? {
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

    fn store_events(&mut self, transaction: &Transaction<'_>, events: &[EventRow]) -> rusqlite::Result<()> {
        let mut store = transaction.prepare_cached(include_str!("sql/store_event.sql"))?;
        for event in events {
            let sequence = match self.sequences.get(&event.trace_id) {
                Some(sequence) => *sequence,
                None => self.sequence(transaction, event.trace_id)?,
            };
            event.store(&mut store, sequence)?;
        }
        Ok(())
    }

    /// The sequence number of a trace; a new one when nothing is known of it.
    fn sequence(&mut self, transaction: &Transaction<'_>, trace_id: TraceId) -> rusqlite::Result<i64> {
        let known = transaction
            .prepare_cached("SELECT seq FROM trace WHERE trace_id = ?1")?
            .query_row([trace_id.0.as_bytes()], |row| row.get(0))
            .optional()?;
        let sequence = match known {
            Some(sequence) => sequence,
            None => transaction
                .prepare_cached("INSERT INTO trace (trace_id) VALUES (?1) RETURNING seq")?
                .query_row([trace_id.0.as_bytes()], |row| row.get(0))?,
        };
        self.sequences.insert(trace_id, sequence);
        Ok(sequence)
    }
}

/// Gives pages that were freed back to the disk, so many that no one waits long for it.
fn give_back_pages(connection: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum")?;
    let mut pages = vacuum.query([])?;
    for _ in 0..VACUUM_PAGES {
        // Each step gives back one.
        if pages.next()?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Deletes a trace with all that belongs to it. The number of traces: 1.
fn delete(transaction: &Transaction<'_>, sequence: i64) -> rusqlite::Result<u64> {
    for statement in
        ["DELETE FROM event WHERE trace = ?1", "DELETE FROM tag WHERE trace = ?1", "DELETE FROM trace WHERE seq = ?1"]
    {
        transaction.prepare_cached(statement)?.execute([sequence])?;
    }
    Ok(1)
}
