//! The tasks that store the batches of a backend.

use super::batches::Batches;
use super::entry::{Entry, Limits};
use super::queue::WriteQueue;
use crate::StorageError;
use crate::refusals::Refusals;
use crate::task::{Supervised, TaskHealth};

/// A queue with supervised tasks that store its batches. The tasks end when this is dropped.
pub struct Workers<E: Entry> {
    queue: WriteQueue<E>,
    tasks: Vec<TaskHealth>,
    refusals: Refusals,
}

impl<E: Entry<Answer = Result<(), StorageError>>> Workers<E> {
    /// Starts as many tasks as batches can be in flight. Each runs `work`, which stores batches until none is left.
    pub fn start<F: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        limits: Limits,
        work: impl Fn(Batches<E>) -> F + Clone + Send + 'static,
    ) -> Self {
        let (queue, batches) = WriteQueue::new(limits);
        let tasks = (0..limits.at_once).map(|_| {
            let (work, batches) = (work.clone(), batches.clone());
            Supervised::start(name, move || work(batches.clone())).detached()
        });
        Self { tasks: tasks.collect(), queue, refusals: Refusals::default() }
    }

    /// Returns `Ok` once `entry` is stored.
    pub async fn write(&self, entry: E) -> Result<(), StorageError> {
        let written = self.queue.write(entry).await;
        self.refusals.note(written.and_then(|outcome| outcome))
    }

    /// The number of batches that are stored at the same time.
    pub fn at_once(&self) -> usize {
        self.tasks.len()
    }

    /// Fails if a task is down, or the store was full at the last write.
    pub fn check(&self) -> Result<(), StorageError> {
        match self.tasks.iter().find_map(TaskHealth::problem) {
            Some(problem) => Err(StorageError::Unavailable(problem)),
            None => self.refusals.check(),
        }
    }

    /// Warnings for the operator.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.tasks.iter().filter_map(TaskHealth::warning)
    }

    /// Waits until every earlier [`write`](Self::write) is answered.
    pub async fn flush(&self) -> Result<(), StorageError> {
        self.queue.drained().await
    }
}
