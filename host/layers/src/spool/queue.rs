//! The queue of waiting writes: a thread that owns the file, and counters that are read without asking it.
//!
//! Concurrent appends share a transaction, and so the wait for the disk; the
//! [write queue](reflow_tracing_storage::write_queue) groups them. A semaphore counts the space in the file, in KiB. Writers
//! without space wait in the order of arrival.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};

use super::config::SpoolConfig;
use super::file::{Found, Refused, Row, SpoolFile};
use super::record::{Encoded, kib};
use reflow_tracing_model::TraceId;
use reflow_tracing_sqlite::pool::blocking;
use reflow_tracing_storage::task::contain_blocking;
use reflow_tracing_storage::write_queue::{Answers, Batch, Batches, Entry, Limits, Size, WriteQueue};
use reflow_tracing_storage::{SpoolMetrics, StorageError};

const LIMITS: Limits = Limits {
    name: "the spool",
    // Jobs, and the bytes of records. Waiting jobs have reserved their space in the file.
    total: Size::new(256, 256 << 20),
    // What one transaction takes.
    batch: Size::new(64, 64 << 20),
    full: Size::new(64, 64 << 20),
    at_once: 1,
    patience: None,
};

enum Job {
    Append(Append),
    /// Any other work with the file. It sends its result itself.
    Run(Box<dyn FnOnce(&mut Thread) + Send>),
    /// Closes the file.
    Close,
}

struct Append {
    record: Encoded,
    room: OwnedSemaphorePermit,
    counted: Counted,
}

impl Entry for Job {
    type Answer = Result<(), StorageError>;

    fn size(&self) -> Size {
        match self {
            Self::Append(append) => Size::new(1, append.record.body.len()),
            Self::Run(_) | Self::Close => Size::new(1, 0),
        }
    }

    fn is_alone(&self) -> bool {
        !matches!(self, Self::Append(_))
    }
}

/// Counts a record as waiting. If this is dropped before the record is in the file, the record counts no more.
struct Counted {
    depth: Arc<Depth>,
    is_in_file: bool,
}

impl Counted {
    fn new(depth: &Arc<Depth>) -> Self {
        depth.records.fetch_add(1, SeqCst);
        Self { depth: Arc::clone(depth), is_in_file: false }
    }

    fn keep(mut self) {
        self.is_in_file = true;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.is_in_file {
            self.depth.records.fetch_sub(1, SeqCst);
        }
    }
}

/// Records that the backend has stored: all up to `until`.
#[derive(Default)]
pub(crate) struct Removed {
    pub until: i64,
    pub records: u64,
    pub traces: u64,
    pub events: u64,
    pub kib: u64,
}

impl Removed {
    pub(crate) fn add(&mut self, row: &Row) {
        self.until = row.seq;
        self.records += 1;
        self.traces += row.traces;
        self.events += row.events;
        self.kib += u64::from(kib(&row.body));
    }
}

/// The position of the queue.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// The last appended record.
    pub appended: i64,
    /// The last removed record.
    pub removed: i64,
}

/// The contents of the queue in numbers.
pub(crate) struct Depth {
    /// Records in the file, and records that are being appended.
    records: AtomicU64,
    traces: AtomicU64,
    events: AtomicU64,
    kib: AtomicU64,
    refused: AtomicU64,
    /// Writers that wait for space.
    waiting: AtomicU64,
    max_kib: u64,
    room: Arc<Semaphore>,
    headers: Mutex<HashMap<TraceId, i64>>,
    pub progress: watch::Sender<Progress>,
}

impl Depth {
    pub(crate) fn metrics(&self) -> SpoolMetrics {
        let mut metrics = SpoolMetrics::default();
        metrics.pending_events = self.events.load(SeqCst);
        metrics.pending_traces = self.traces.load(SeqCst);
        metrics.bytes = self.kib.load(SeqCst) * 1024;
        metrics.max_bytes = self.max_kib * 1024;
        metrics.waiting_writers = self.waiting.load(SeqCst);
        metrics.refused = self.refused.load(SeqCst);
        metrics
    }

    fn headers(&self) -> MutexGuard<'_, HashMap<TraceId, i64>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn appended(&self, record: &Encoded, seq: i64) {
        self.traces.fetch_add(record.traces.len() as u64, SeqCst);
        self.events.fetch_add(record.events, SeqCst);
        self.kib.fetch_add(kib(&record.body).into(), SeqCst);
        self.headers().extend(record.traces.iter().map(|trace_id| (*trace_id, seq)));
        self.progress.send_modify(|progress| progress.appended = seq);
    }

    fn removed(&self, rows: &Removed, refused: u64) {
        let before = self.kib.fetch_sub(rows.kib, SeqCst);
        self.traces.fetch_sub(rows.traces, SeqCst);
        self.events.fetch_sub(rows.events, SeqCst);
        self.refused.fetch_add(refused, SeqCst);
        self.headers().retain(|_, seq| *seq > rows.until);
        self.records.fetch_sub(rows.records, SeqCst);
        self.progress.send_modify(|progress| progress.removed = rows.until);
        // Frees no space while the file holds more than the maximum.
        let free = |used: u64| self.max_kib.saturating_sub(used);
        let freed = free(before - rows.kib) - free(before);
        self.room.add_permits(usize::try_from(freed).unwrap_or(usize::MAX));
    }
}

/// Counts a waiting writer until it is dropped.
pub(crate) struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

pub(crate) struct Queue {
    jobs: WriteQueue<Job>,
    depth: Arc<Depth>,
}

impl Queue {
    /// Opens the queue of a backend. `setting` of `[storage]` names the folder, for errors.
    pub(crate) async fn open(config: &SpoolConfig, backend: &str, setting: &'static str) -> Result<Self, StorageError> {
        let (dir, backend) = (config.dir.clone(), backend.to_owned());
        let max_kib = u64::from(config.max_size_mb) * 1024;
        blocking(move || Self::open_blocking(dir, &backend, setting, max_kib)).await
    }

    fn open_blocking(dir: PathBuf, backend: &str, setting: &'static str, max_kib: u64) -> Result<Self, StorageError> {
        let (file, found) = SpoolFile::open(&dir, backend, setting)?;
        let Found { records, traces, events, kib, refused, last, headers } = found;
        let room = usize::try_from(max_kib.saturating_sub(kib)).unwrap_or(usize::MAX);
        let depth = Arc::new(Depth {
            records: records.into(),
            traces: traces.into(),
            events: events.into(),
            kib: kib.into(),
            refused: refused.into(),
            waiting: AtomicU64::new(0),
            max_kib,
            room: Arc::new(Semaphore::new(room)),
            headers: Mutex::new(headers),
            progress: watch::Sender::new(Progress { appended: last, removed: 0 }),
        });
        let (jobs, batches) = WriteQueue::new(LIMITS);
        let thread = Thread { file, depth: Arc::clone(&depth) };
        std::thread::Builder::new()
            .name("spool".into())
            .spawn(move || thread.work(&batches))
            .map_err(|error| StorageError::Unavailable(format!("no thread for the spool: {error}")))?;
        Ok(Self { jobs, depth })
    }

    pub(crate) fn depth(&self) -> &Depth {
        &self.depth
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.depth.records.load(SeqCst) == 0
    }

    /// The record with the newest header of a trace.
    pub(crate) fn header(&self, trace_id: TraceId) -> Option<i64> {
        self.depth.headers().get(&trace_id).copied()
    }

    /// Appends a record: waits for space, then until the record is on the disk.
    pub(crate) async fn append(&self, record: &Encoded) -> Result<(), StorageError> {
        let room = match self.room(record)? {
            Some(room) => room,
            None => {
                let _waiting = self.wait();
                let room = Arc::clone(&self.depth.room);
                room.acquire_many_owned(self.size_of(record)).await.map_err(|_| closed())?
            }
        };
        self.append_in(room, record).await
    }

    /// Appends a record if there is space: waits until the record is on the disk. Fails with [`StorageError::Exhausted`] if
    /// the queue is full.
    pub(crate) async fn append_if_room(&self, record: &Encoded) -> Result<(), StorageError> {
        let room = self.room(record)?.ok_or_else(|| {
            StorageError::Exhausted(format!("the queue holds its maximum of {} MiB", self.depth.max_kib / 1024))
        })?;
        self.append_in(room, record).await
    }

    /// The space of a record in KiB. A record larger than the maximum needs an empty queue.
    fn size_of(&self, record: &Encoded) -> u32 {
        kib(&record.body).min(u32::try_from(self.depth.max_kib).unwrap_or(u32::MAX))
    }

    /// Space for a record; `None` if there is none now.
    fn room(&self, record: &Encoded) -> Result<Option<OwnedSemaphorePermit>, StorageError> {
        match Arc::clone(&self.depth.room).try_acquire_many_owned(self.size_of(record)) {
            Ok(room) => Ok(Some(room)),
            Err(TryAcquireError::NoPermits) => Ok(None),
            Err(TryAcquireError::Closed) => Err(closed()),
        }
    }

    async fn append_in(&self, room: OwnedSemaphorePermit, record: &Encoded) -> Result<(), StorageError> {
        // From here on, later calls don't go to the backend directly.
        let counted = Counted::new(&self.depth);
        self.jobs.write(Job::Append(Append { record: record.clone(), room, counted })).await.map_err(ended)?
    }

    /// Counts a writer as waiting.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.depth.waiting.fetch_add(1, SeqCst);
        Waiting(&self.depth.waiting)
    }

    pub(crate) async fn next(&self) -> Result<Vec<Row>, StorageError> {
        self.run(|thread| thread.file.next().map_err(|error| thread.file.describe(&error))).await
    }

    pub(crate) async fn read(&self, seq: i64) -> Result<Option<Row>, StorageError> {
        self.run(move |thread| thread.file.read(seq).map_err(|error| thread.file.describe(&error))).await
    }

    /// Removes records, and keeps the rejected writes. `rejected` is how many there were.
    pub(crate) async fn remove(&self, rows: Removed, refused: Vec<Refused>, rejected: u64) -> Result<(), StorageError> {
        self.run(move |thread| thread.remove(&rows, &refused, rejected)).await
    }

    /// Checks that the disk has space for an append.
    pub(crate) async fn check(&self) -> Result<(), StorageError> {
        self.run(|thread| thread.file.check_room()).await
    }

    /// Closes the file. Waiting writers get an error.
    pub(crate) async fn close(&self) {
        self.depth.room.close();
        // It may be closed already; ignore the error.
        let _ = self.jobs.write(Job::Close).await;
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Thread) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (outcome, known) = oneshot::channel();
        let work = move |thread: &mut Thread| {
            // The receiver may be gone; ignore the error.
            let _ = outcome.send(work(thread));
        };
        self.jobs.write(Job::Run(Box::new(work))).await.map_err(ended)??;
        known.await.map_err(|_| closed())?
    }
}

/// The thread ends only when the spool is closed.
fn ended(error: StorageError) -> StorageError {
    if matches!(error, StorageError::Unavailable(_)) { closed() } else { error }
}

pub(crate) fn closed() -> StorageError {
    StorageError::Unavailable("the spool is closed".into())
}

struct Thread {
    file: SpoolFile,
    depth: Arc<Depth>,
}

impl Thread {
    fn work(mut self, batches: &Batches<Job>) {
        while let Some(Batch { mut entries, answers, .. }) = batches.blocking_next() {
            if let [Job::Close] = entries[..] {
                drop(self);
                return answers.send_to_all(Ok(()));
            }
            // A panic affects only these jobs, which are answered when they are dropped.
            contain_blocking(LIMITS.name, || {
                let mut appends = Vec::with_capacity(entries.len());
                for job in entries.drain(..) {
                    match job {
                        Job::Append(append) => appends.push(append),
                        Job::Run(work) => {
                            work(&mut self);
                            return answers.send_to_all(Ok(()));
                        }
                        // Handled above, because it is always alone.
                        Job::Close => {}
                    }
                }
                self.append(appends, answers);
            });
        }
    }

    fn append(&mut self, group: Vec<Append>, answers: Answers<Job>) {
        match self.file.append(group.iter().map(|append| &append.record)) {
            Ok(numbers) => {
                for (Append { record, room, counted }, seq) in group.into_iter().zip(numbers) {
                    // Released when the record is removed.
                    room.forget();
                    self.depth.appended(&record, seq);
                    counted.keep();
                }
                answers.send_to_all(Ok(()));
            }
            Err(error) => {
                let error = self.file.describe(&error);
                // Releases the space before the callers get their answer.
                drop(group);
                answers.send_to_all(Err(error));
            }
        }
    }

    fn remove(&mut self, rows: &Removed, refused: &[Refused], rejected: u64) -> Result<(), StorageError> {
        self.file.remove(rows.until, refused).map_err(|error| self.file.describe(&error))?;
        self.depth.removed(rows, rejected);
        if self.depth.records.load(SeqCst) == 0
            && let Err(error) = self.file.shrink()
        {
            tracing::debug!("the free space of the spool was not returned to the file system: {error}");
        }
        Ok(())
    }
}
