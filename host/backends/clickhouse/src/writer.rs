//! Group commit: what waits while others are stored makes the next batch.
//!
//! The server stores a batch of thousands of rows nearly as quickly as one row, and each batch becomes files of its own that
//! it has to merge later. So every write goes through the [queue](reflow_tracing_storage::write_queue) to a few tasks, each of
//! which takes a batch: a full one at once, a smaller one as soon as the one before it is stored and nothing else waits.

use std::sync::Arc;

use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::refusals::Refusals;
use reflow_tracing_storage::task::{Supervised, TaskHealth, contain};
use reflow_tracing_storage::write_queue::{Batch, Batches, Entry, Limits, Size, Split, WriteQueue};

use super::ClickHouseConfig;
use super::batch::{MOST_BYTES, Store};
use super::connection::Server;

/// Batches that are on their way at the same time.
const AT_ONCE: usize = 4;

/// About the memory that a usual header takes up.
const HEADER_BYTES: usize = 1024;

const NAME: &str = "the ClickHouse writer";

/// Rows of one caller.
pub(super) struct Job {
    pub headers: Vec<FlowTrace>,
    pub events: Vec<(TraceId, TraceEvent)>,
    size: Size,
}

impl Entry for Job {
    type Answer = Result<(), StorageError>;

    fn size(&self) -> Size {
        self.size
    }

    /// A header replaces the earlier one, so they must not overtake one another; events are the same in any order.
    fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.headers.iter().map(|header| header.trace_id)
    }
}

/// The way to the tasks that write, which end when this is dropped.
pub(super) struct Writer {
    queue: WriteQueue<Job>,
    tasks: Vec<TaskHealth>,
    refusals: Refusals,
}

impl Writer {
    pub(super) fn start(server: Arc<Server>, config: &ClickHouseConfig) -> Self {
        let batch = Size::new(config.batch_size, MOST_BYTES);
        let (queue, batches) = WriteQueue::new(Limits {
            name: NAME,
            // What is under way, and as much again that waits.
            total: Size::new(2 * AT_ONCE * config.batch_size.max(5_000), 2 * AT_ONCE * MOST_BYTES),
            batch,
            full: batch,
            at_once: AT_ONCE,
            patience: Some(config.flush_interval()),
        });
        let store = Arc::new(Store::new(server, config.batch_size));
        let tasks = (0..AT_ONCE).map(|_| {
            let (store, batches) = (store.clone(), batches.clone());
            Supervised::start("writing to ClickHouse", move || work(store.clone(), batches.clone())).detached()
        });
        Self { tasks: tasks.collect(), queue, refusals: Refusals::default() }
    }

    /// Stores rows; `Ok` once the server has them.
    pub(super) async fn write(
        &self,
        headers: Vec<FlowTrace>,
        events: Vec<(TraceId, TraceEvent)>,
    ) -> Result<(), StorageError> {
        let bytes = events.iter().map(|(_, event)| super::batch::bytes(event)).sum::<usize>();
        let size = Size::new(headers.len() + events.len(), bytes + headers.len() * HEADER_BYTES);
        let written = self.queue.write(Job { headers, events, size }).await;
        self.refusals.note(written.and_then(|outcome| outcome))
    }

    /// How many batches are on their way at the same time.
    pub(super) fn at_once(&self) -> usize {
        AT_ONCE
    }

    /// Fails when a task is dead, or the server was full for the last write.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.tasks.iter().find_map(TaskHealth::problem) {
            Some(problem) => Err(StorageError::Unavailable(problem)),
            None => self.refusals.check(),
        }
    }

    /// What an operator should know.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.tasks.iter().filter_map(TaskHealth::warning)
    }

    /// Waits until everything that was given to [`write`](Self::write) before is answered.
    pub(super) async fn flush(&self) -> Result<(), StorageError> {
        self.queue.drained().await
    }
}

async fn work(store: Arc<Store>, batches: Batches<Job>) {
    while let Some(batch) = batches.next().await {
        // A panic costs its own batch, which is answered as it is dropped.
        contain(NAME, commit(&store, batch)).await;
    }
}

async fn commit(store: &Store, batch: Batch<Job>) {
    let Batch { entries: jobs, answers, .. } = batch;
    let mut split = Split::new(jobs.len());
    while let Some(part) = split.next() {
        split.outcome(store.store(&jobs[part]).await);
    }
    answers.send(split.outcomes().cloned());
}
