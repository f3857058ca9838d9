//! Group commit on the one thread that writes.
//!
//! SQLite has one writer at a time, and a transaction costs far more than a row. So every write goes through the
//! [queue](reflow_tracing_storage::write_queue) to one thread, which stores a batch in one transaction and answers its callers
//! after the commit.

use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use rusqlite::Connection;

use super::connection::describe;
use super::rows::{self, Rows};
use super::space::Space;
use super::write::{Job, Write};
use reflow_tracing_storage::StorageError;
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

/// Sends writes to the writer's thread, which ends when this is dropped.
pub(super) struct Writer {
    queue: WriteQueue<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection, path: PathBuf, busy_timeout: Duration) -> Result<Self, StorageError> {
        let (queue, batches) = WriteQueue::new(LIMITS);
        let space = Space::new(path.clone(), busy_timeout);
        let thread = Thread { path, space, rows: Rows::default() };
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
    rows: Rows,
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
                self.rows.forget();
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

    /// The outcome of each job, if there is room for it.
    fn outcomes(&mut self, connection: &mut Connection, jobs: &[&Job]) -> Vec<Result<u64, StorageError>> {
        let writes: Vec<_> = jobs.iter().map(|job| job.write.room()).collect();
        let admitted = self.space.admit(connection, &writes);
        let fitting: Vec<_> =
            jobs.iter().zip(&admitted).filter(|(_, room)| room.is_ok()).map(|(job, _)| *job).collect();
        let mut outcomes = self.transact_all(connection, &fitting).into_iter();
        let mut outcome = |()| outcomes.next().expect("each write that was admitted has an outcome");
        admitted.into_iter().map(|room| room.and_then(&mut outcome)).collect()
    }

    /// The outcome of each job, wherever its room comes from.
    fn transact_all(&mut self, connection: &mut Connection, jobs: &[&Job]) -> Vec<Result<u64, StorageError>> {
        let mut counts = vec![0; jobs.len()];
        let mut split = Split::new(jobs.len());
        while let Some(part) = split.next() {
            let applied = self.rows.apply(connection, &jobs[part.clone()]);
            split.outcome(
                applied
                    .map(|of_part| counts[part].copy_from_slice(&of_part))
                    .map_err(|error| describe(&self.path, &error)),
            );
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
            if is_full(&outcomes[place]) && (job.write.room() == 0 || rows::ends_traces(connection, &job.write)) {
                again.push(job);
                places.push(place);
            }
        }
        if again.is_empty() {
            return;
        }
        let had_reserve = self.space.give_up_reserve(connection);
        for (place, outcome) in places.into_iter().zip(self.transact_all(connection, &again)) {
            outcomes[place] = outcome;
        }
        self.space.put_back(connection, had_reserve);
    }

    /// Moves the log to the file, if the disk is full with the room of the reserve.
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
}

/// Whether there was no room.
fn is_full(outcome: &Result<u64, StorageError>) -> bool {
    matches!(outcome, Err(StorageError::Exhausted(_)))
}
