//! Group commit on the one thread that writes.
//!
//! SQLite has one writer at a time, and a transaction costs far more than a row. So every write goes through the
//! [queue](reflow_tracing_storage::write_queue) to one thread, which stores a batch in one transaction and answers its callers
//! after the commit.

use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use hashlink::LruCache;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::connection::describe;
use super::event;
use super::header::HeaderRow;
use super::leases;
use super::read::sequence_of;
use super::space::Space;
use super::write::{Job, Write};
use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::sql::EventRow;
use reflow_tracing_storage::task::contain_blocking;
use reflow_tracing_storage::write_queue::{Batch, Batches, Limits, Size, Split, WriteQueue};

const LIMITS: Limits = Limits {
    name: "the SQLite writer",
    total: Size::new(40_000, 128 << 20),
    // Bounds how long a caller waits for its transaction.
    batch: Size::new(5_000, 32 << 20),
    full: Size::new(5_000, 32 << 20),
    at_once: 1,
    patience: None,
};
/// Traces deleted per transaction, so that writers don't wait long.
pub(super) const DELETED_AT_ONCE: usize = 100;
/// The number of traces whose sequence number is cached: more than are recorded at one time.
const KNOWN_TRACES: usize = 50_000;

/// Sends writes to the writer's thread, which ends when this is dropped.
pub(super) struct Writer {
    queue: WriteQueue<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection, path: PathBuf, busy_timeout: Duration) -> Result<Self, StorageError> {
        let (queue, batches) = WriteQueue::new(LIMITS);
        let space = Space::new(path.clone(), busy_timeout);
        let thread = Thread { path, space, sequences: LruCache::new(KNOWN_TRACES), data_version: 0 };
        std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || thread.work(connection, &batches))
            .map_err(|error| StorageError::Unavailable(format!("no thread for the SQLite writer: {error}")))?;
        Ok(Self { queue })
    }

    /// Runs `write`. Returns after the commit, with the number of deleted traces, whether a lease was valid, or how many free
    /// pages are left.
    pub(super) async fn write(&self, write: Write) -> Result<u64, StorageError> {
        self.queue.write(Job::new(write)).await?
    }
}

struct Thread {
    path: PathBuf,
    space: Space,
    /// The sequence numbers of recently used traces.
    sequences: LruCache<TraceId, i64>,
    /// SQLite's counter of commits by other connections.
    data_version: i64,
}

impl Thread {
    fn work(mut self, mut connection: Connection, batches: &Batches<Job>) {
        loop {
            if self.space.is_due() {
                self.give_back(&connection);
            }
            let next = match self.space.is_pending() {
                true => batches.poll_now(),
                false => Poll::Ready(batches.blocking_next()),
            };
            let batch = match next {
                Poll::Ready(Some(batch)) => batch,
                Poll::Ready(None) => return,
                Poll::Pending => {
                    // Other processes write, too.
                    std::thread::sleep(Duration::from_millis(2));
                    self.give_back(&connection);
                    continue;
                }
            };
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

    /// Gives pages back in the background.
    fn give_back(&mut self, connection: &Connection) {
        contain_blocking(LIMITS.name, || {
            if let Err(error) = self.space.step(connection) {
                // The next deletion or flush tries again.
                tracing::debug!("free pages were not returned to the file system: {error}");
            }
        });
    }

    fn commit(&mut self, connection: &mut Connection, batch: Batch<Job>) {
        let Batch { entries: jobs, answers, .. } = batch;
        let mut outcomes = self.outcomes(connection, &jobs.iter().collect::<Vec<_>>());
        if outcomes.iter().any(is_full) {
            self.store_in_reserve(connection, &jobs, &mut outcomes);
            self.space.after_full(connection);
        }
        for (job, outcome) in jobs.iter().zip(&mut outcomes) {
            match job.write {
                Write::DeleteTraces(_) | Write::DeleteBefore(_) if outcome.is_ok() => self.space.freed(),
                Write::Checkpoint if outcome.is_ok() => *outcome = self.checkpoint(connection).map(|()| 0),
                Write::GiveBack if outcome.is_ok() => *outcome = self.space.step(connection),
                _ => {}
            }
        }
        answers.send(outcomes);
    }

    /// The outcome of each job.
    fn outcomes(&mut self, connection: &mut Connection, jobs: &[&Job]) -> Vec<Result<u64, StorageError>> {
        let mut counts = vec![0; jobs.len()];
        let mut split = Split::new(jobs.len());
        while let Some(part) = split.next() {
            split.outcome(self.transact(connection, &jobs[part.clone()]).map(|of_part| {
                counts[part].copy_from_slice(&of_part);
            }));
        }
        split.outcomes().zip(counts).map(|(outcome, count)| outcome.clone().map(|()| count)).collect()
    }

    /// Does what a full disk must not prevent: deleting, and noting what has ended.
    fn store_in_reserve(
        &mut self,
        connection: &mut Connection,
        jobs: &[Job],
        outcomes: &mut [Result<u64, StorageError>],
    ) {
        let (mut again, mut places) = (Vec::new(), Vec::new());
        for (place, job) in jobs.iter().enumerate() {
            if is_full(&outcomes[place]) && (job.write.room() == 0 || self.ends_traces(connection, &job.write)) {
                again.push(job);
                places.push(place);
            }
        }
        if again.is_empty() {
            return;
        }
        let had_reserve = self.space.give_up_reserve(connection);
        for (place, outcome) in places.into_iter().zip(self.outcomes(connection, &again)) {
            outcomes[place] = outcome;
        }
        self.space.put_back(connection, had_reserve);
    }

    /// Whether a write only gives an end to traces that have none, which each trace gets once.
    fn ends_traces(&self, connection: &Connection, write: &Write) -> bool {
        let Write::Store { headers, events } = write else { return false };
        let running = "SELECT 1 FROM trace WHERE trace_id = ?1 AND start_time IS NOT NULL AND end_time IS NULL";
        let ends =
            |row: &HeaderRow| row.header.end_time.is_some() && self.has(connection, running, row).unwrap_or(false);
        events.is_empty() && !headers.is_empty() && headers.iter().all(ends)
    }

    /// Applies all jobs in one transaction. Returns the result of each.
    fn transact(&mut self, connection: &mut Connection, jobs: &[&Job]) -> Result<Vec<u64>, StorageError> {
        let room: u64 = jobs.iter().map(|job| job.write.room()).sum();
        if room > 0 {
            self.space.ensure_reserve()?;
        }
        let applied = self.apply_all(connection, jobs, room);
        if applied.is_err() {
            // It may contain traces that were rolled back.
            self.sequences.clear();
        }
        applied
    }

    fn apply_all(&mut self, connection: &mut Connection, jobs: &[&Job], room: u64) -> Result<Vec<u64>, StorageError> {
        let path = self.path.clone();
        let on_error = |error: rusqlite::Error| describe(&path, &error);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(on_error)?;
        if room > 0 {
            self.space.check(&transaction, room)?;
        }
        let data_version = transaction.pragma_query_value(None, "data_version", |row| row.get(0)).map_err(on_error)?;
        if data_version != self.data_version {
            // Another process wrote, and may have deleted traces.
            self.sequences.clear();
            self.data_version = data_version;
        }
        let counts = jobs.iter().map(|job| self.apply(&transaction, &job.write)).collect::<rusqlite::Result<_>>();
        let counts = counts.map_err(on_error)?;
        transaction.commit().map_err(on_error)?;
        Ok(counts)
    }

    /// The same with the room of the reserve, if the disk is full.
    fn checkpoint(&self, connection: &Connection) -> Result<(), StorageError> {
        match self.checkpoint_once(connection) {
            Err(StorageError::Exhausted(_)) => {
                let had_reserve = self.space.give_up_reserve(connection);
                let again = self.checkpoint_once(connection);
                self.space.put_back(connection, had_reserve);
                again
            }
            other => other,
        }
    }

    fn checkpoint_once(&self, connection: &Connection) -> Result<(), StorageError> {
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
                    .prepare_cached("SELECT seq FROM trace WHERE start_time < ?1 LIMIT ?2")?
                    .query_map(params![time, DELETED_AT_ONCE], |row| row.get(0))?
                    .collect::<rusqlite::Result<Vec<i64>>>()?;
                self.sequences.clear();
                old.into_iter().map(|sequence| delete(transaction, sequence)).sum()
            }
            Write::Check => {
                // The version that it has: SQLite writes the page all the same.
                let version = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0))?;
                transaction.pragma_update(None, "user_version", version)?;
                Ok(0)
            }
            Write::GiveBack | Write::Checkpoint => Ok(0),
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

    fn has(&self, connection: &Connection, sql: &str, row: &HeaderRow) -> rusqlite::Result<bool> {
        connection.prepare_cached(sql)?.exists([row.header.trace_id.0.as_bytes()])
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

/// Whether there was no room.
fn is_full(outcome: &Result<u64, StorageError>) -> bool {
    matches!(outcome, Err(StorageError::Exhausted(_)))
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
