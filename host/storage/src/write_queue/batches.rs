//! The workers' end.

use std::sync::Arc;
use std::task::Poll;

use reflow_tracing_model::TraceId;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

use super::entry::{Entry, Room, Size};
use super::state::{Next, Queued, Shared, Taken};

/// The workers' end of a [`WriteQueue`](super::WriteQueue). When the last clone is dropped, all writes fail.
pub struct Batches<E: Entry> {
    worker: Arc<Worker<E>>,
}

impl<E: Entry> Clone for Batches<E> {
    fn clone(&self) -> Self {
        Self { worker: self.worker.clone() }
    }
}

struct Worker<E: Entry> {
    shared: Arc<Shared<E>>,
    room: [Arc<Semaphore>; 2],
}

impl<E: Entry> Drop for Worker<E> {
    fn drop(&mut self) {
        for room in &self.room {
            room.close();
        }
        self.shared.abandon();
    }
}

impl<E: Entry> Batches<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, room: [Arc<Semaphore>; 2]) -> Self {
        Self { worker: Arc::new(Worker { shared, room }) }
    }

    /// Waits for the next batch; `None` at the end.
    ///
    /// May be cancelled without losing a write. Of several waiting workers, the last one gets the next batch, because its
    /// connection is still warm.
    pub async fn next(&self) -> Option<Batch<E>> {
        let shared = &self.worker.shared;
        loop {
            let notified = shared.work.notified();
            let mut waiting = Size::default();
            while let Some(now) = shared.waiting() {
                if now.reaches(shared.limits.full) || now == waiting {
                    break;
                }
                waiting = now;
                // Senders that the last batch answered are about to send their next writes.
                tokio::task::yield_now().await;
            }
            match shared.next() {
                Next::Store(taken) => return Some(self.batch(taken)),
                Next::End => return None,
                Next::Wait(until) => wait(notified, until).await,
            }
        }
    }

    /// Like [`next`](Self::next), but blocks the thread.
    pub fn blocking_next(&self) -> Option<Batch<E>> {
        let shared = &self.worker.shared;
        futures::executor::block_on(async {
            loop {
                let notified = shared.work.notified();
                match shared.next() {
                    Next::Store(taken) => return Some(self.batch(taken)),
                    Next::End => return None,
                    // Tokio's clock needs a runtime.
                    Next::Wait(_) => notified.await,
                }
            }
        })
    }

    /// The next batch if one is due now; `None` at the end.
    pub fn poll_now(&self) -> Poll<Option<Batch<E>>> {
        match self.worker.shared.next() {
            Next::Store(taken) => Poll::Ready(Some(self.batch(taken))),
            Next::End => Poll::Ready(None),
            Next::Wait(_) => Poll::Pending,
        }
    }

    /// Sets the maximum number of batches in flight.
    pub fn allow_at_once(&self, batches: usize) {
        self.worker.shared.allow_at_once(batches);
    }

    fn batch(&self, taken: Taken<E>) -> Batch<E> {
        let Taken { entries: queued, traces, is_small } = taken;
        let in_flight = InFlight { worker: self.worker.clone(), traces, is_small };
        let mut entries = Vec::with_capacity(queued.len());
        let mut answers = Vec::with_capacity(queued.len());
        let mut size = Size::default();
        for Queued { entry, size: of_entry, answer, room } in queued {
            size += of_entry;
            entries.push(entry);
            answers.push((answer, room));
        }
        Batch { entries, size, answers: Answers { answers, _in_flight: in_flight } }
    }
}

async fn wait(notified: impl Future<Output = ()>, until: Option<Instant>) {
    match until {
        Some(until) => tokio::select! {
            () = notified => {}
            () = sleep_until(until) => {}
        },
        None => notified.await,
    }
}

/// Writes to store together, in their order.
pub struct Batch<E: Entry> {
    /// The writes.
    pub entries: Vec<E>,
    /// Their total size.
    pub size: Size,
    /// Sends their answers.
    pub answers: Answers<E>,
}

/// Answers the writes of a batch. If this is dropped, they get the answer that the worker failed.
pub struct Answers<E: Entry> {
    answers: Vec<(oneshot::Sender<E::Answer>, Room)>,
    _in_flight: InFlight<E>,
}

impl<E: Entry> Answers<E> {
    /// Answers the writes in their order, and ends the batch. If there are too few answers, the rest is told that the worker
    /// failed.
    pub fn send(self, answers: impl IntoIterator<Item = E::Answer>) {
        for ((sender, _room), answer) in self.answers.into_iter().zip(answers) {
            // The receiver may be gone; ignore the error.
            let _ = sender.send(answer);
        }
    }
}

impl<E: Entry> Answers<E>
where
    E::Answer: Clone,
{
    /// Gives all writes the same answer.
    pub fn send_to_all(self, answer: E::Answer) {
        self.send(std::iter::repeat(answer));
    }
}

struct InFlight<E: Entry> {
    worker: Arc<Worker<E>>,
    traces: Vec<TraceId>,
    is_small: bool,
}

impl<E: Entry> Drop for InFlight<E> {
    fn drop(&mut self) {
        self.worker.shared.done(&self.traces, self.is_small);
    }
}
