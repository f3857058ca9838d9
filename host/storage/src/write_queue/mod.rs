//! Group commit: writes that arrive while others are being stored make the next batch.
//!
//! A commit costs far more than a row, so whoever stores rows wants them in batches, and without a timer: an idle store
//! commits a lone write at once, a busy one gets batches as large as its load needs. Everything in this workspace that
//! groups writes does it with this queue: the host's ingest, the writers of the backends, and the spool.
//!
//! # What it guarantees
//! - **Budgets.** Rows and bytes are bounded: what one batch holds ([`Limits::batch`]), and what waits and is being stored
//!   together ([`Limits::total`]). A sender beyond them waits, in the order of arrival; nothing is dropped.
//! - **Batches in flight.** At most [`Limits::at_once`]. A batch that is not full ([`Limits::full`]) is handed out only while
//!   no other such batch is in flight: two at a time would be half as large and take as long.
//! - **Fairness.** Writes wait in [`Lane`]s, of which each gives one write in its turn. A lane that floods makes
//!   the batches full, and does not make the others wait longer than a batch.
//! - **Order.** The writes of a lane are handed out in their order. A write whose traces ([`Entry::traces`]) are in flight
//!   waits until that batch is done: two batches in flight never hold the same trace.
//! - **Answers.** Each write is answered, also when the batch is dropped half done because of a panic.
//!
//! # Use
//! [`WriteQueue::new`] gives both ends. Workers, tasks or threads, call [`Batches::next`], store what they get, and
//! [answer](Answers::send). [`Split`] is the one rule for a batch that is refused.

mod batches;
mod split;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reflow_tracing_model::TraceId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::StorageError;
pub use batches::{Answers, Batch, Batches};
pub use split::Split;
use state::{Queued, Shared};

/// A write that can share a batch.
pub trait Entry: Send + 'static {
    /// What its sender waits for.
    type Answer: Send + 'static;

    /// What it takes up.
    fn size(&self) -> Size;

    /// The traces whose writes must not overtake one another. None where the order makes no difference.
    fn traces(&self) -> impl Iterator<Item = TraceId> {
        std::iter::empty()
    }

    /// Whether it has to be the only one of its batch.
    fn is_alone(&self) -> bool {
        false
    }
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Events, headers, or whatever is counted.
    pub rows: usize,
    /// About the memory that they take up.
    pub bytes: usize,
}

impl Size {
    /// So many rows and bytes.
    pub const fn new(rows: usize, bytes: usize) -> Self {
        Self { rows, bytes }
    }

    /// Whether there is as much as `limit`, of the one or the other.
    pub fn reaches(self, limit: Self) -> bool {
        self.rows >= limit.rows || self.bytes >= limit.bytes
    }
}

impl std::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

impl std::ops::SubAssign for Size {
    fn sub_assign(&mut self, other: Self) {
        self.rows -= other.rows;
        self.bytes -= other.bytes;
    }
}

/// What a queue may hold and hand out.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Who stores, for errors: "the SQLite writer".
    pub name: &'static str,
    /// What may wait or be in flight. A single write that is larger waits until it is alone.
    pub total: Size,
    /// A batch takes no more writes once it is so large.
    pub batch: Size,
    /// From here on a batch counts as full, and may be in flight beside others.
    pub full: Size,
    /// The batches in flight.
    pub at_once: usize,
    /// How long a batch that is not full waits for another one that is not. `None` for as long as it takes.
    pub patience: Option<Duration>,
}

/// The senders' end. Clones are the same queue; when the last one is dropped, with the last [`Lane`], the workers end once
/// they have stored what waits.
pub struct WriteQueue<E: Entry> {
    sender: Arc<Sender<E>>,
}

impl<E: Entry> Clone for WriteQueue<E> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

struct Sender<E: Entry> {
    shared: Arc<Shared<E>>,
    rows: Arc<Semaphore>,
    /// In [`KIB`].
    bytes: Arc<Semaphore>,
    next_lane: AtomicU64,
}

impl<E: Entry> Drop for Sender<E> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// The unit in which bytes are counted against the budget.
const KIB: usize = 1024;

/// Room that a write takes up until it is answered.
pub(super) struct Room {
    _rows: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl<E: Entry> WriteQueue<E> {
    /// Both ends of an empty queue.
    pub fn new(limits: Limits) -> (Self, Batches<E>) {
        let rows = Arc::new(Semaphore::new(limits.total.rows));
        let bytes = Arc::new(Semaphore::new(limits.total.bytes / KIB));
        let shared = Arc::new(Shared::new(limits));
        let batches = Batches::new(shared.clone(), [rows.clone(), bytes.clone()]);
        // Lane 0 is that of those who have none of their own.
        let sender = Sender { shared, rows, bytes, next_lane: AtomicU64::new(1) };
        (Self { sender: Arc::new(sender) }, batches)
    }

    /// A lane for one sender, so that it is neither starved by others nor starves them.
    pub fn lane(&self) -> Lane<E> {
        Lane { queue: self.clone(), number: self.sender.next_lane.fetch_add(1, Ordering::Relaxed) }
    }

    /// Stores `entry`: waits for room, then for its answer. What is stored although nobody waits for it any more stays
    /// stored.
    ///
    /// Fails when the workers have ended, or one failed with this entry in its batch.
    pub async fn write(&self, entry: E) -> Result<E::Answer, StorageError> {
        self.push(0, entry).await?.answer().await
    }

    /// Waits until everything that was given to the queue before is answered. Fails when the workers have ended.
    pub async fn drained(&self) -> Result<(), StorageError> {
        // Room is given in the order in which it was asked for, so all of it comes after everything before.
        let rows = u32::try_from(self.limits().total.rows).unwrap_or(u32::MAX);
        self.sender.rows.acquire_many(rows).await.map(drop).map_err(|_| self.limits().ended())
    }

    fn limits(&self) -> &Limits {
        &self.sender.shared.limits
    }

    async fn push(&self, lane: u64, entry: E) -> Result<Ticket<E::Answer>, StorageError> {
        let [rows, bytes] = self.needs(&entry);
        let ended = |_| self.limits().ended();
        let rows = self.sender.rows.clone().acquire_many_owned(rows).await.map_err(ended)?;
        let bytes = self.sender.bytes.clone().acquire_many_owned(bytes).await.map_err(ended)?;
        Ok(self.let_in(lane, entry, Room { _rows: rows, _bytes: bytes }))
    }

    fn try_push(&self, lane: u64, entry: E) -> Result<Ticket<E::Answer>, E> {
        let [rows, bytes] = self.needs(&entry);
        let Ok(rows) = self.sender.rows.clone().try_acquire_many_owned(rows) else { return Err(entry) };
        let Ok(bytes) = self.sender.bytes.clone().try_acquire_many_owned(bytes) else { return Err(entry) };
        Ok(self.let_in(lane, entry, Room { _rows: rows, _bytes: bytes }))
    }

    /// What is larger than the whole takes the whole.
    fn needs(&self, entry: &E) -> [u32; 2] {
        let Size { rows, bytes } = entry.size();
        let total = self.limits().total;
        let kib = bytes.div_ceil(KIB).min(total.bytes / KIB);
        [rows.min(total.rows), kib].map(|permits| u32::try_from(permits).unwrap_or(u32::MAX))
    }

    fn let_in(&self, lane: u64, entry: E, room: Room) -> Ticket<E::Answer> {
        let (answer, answered) = oneshot::channel();
        self.sender.shared.push(lane, Queued { size: entry.size(), entry, answer, room });
        Ticket { answered, limits: *self.limits() }
    }
}

/// The writes of one sender, which are handed out in their order.
pub struct Lane<E: Entry> {
    queue: WriteQueue<E>,
    number: u64,
}

impl<E: Entry> Lane<E> {
    /// Lets `entry` in when there is room for it now; gives it back when there is none, or the workers have ended.
    pub fn try_push(&self, entry: E) -> Result<Ticket<E::Answer>, E> {
        self.queue.try_push(self.number, entry)
    }

    /// Lets `entry` in, once there is room. Fails when the workers have ended.
    pub fn push(&self, entry: E) -> impl Future<Output = Result<Ticket<E::Answer>, StorageError>> + use<E> {
        let (queue, number) = (self.queue.clone(), self.number);
        async move { queue.push(number, entry).await }
    }
}

/// A write that was let in.
pub struct Ticket<A> {
    answered: oneshot::Receiver<A>,
    limits: Limits,
}

impl<A> Ticket<A> {
    /// Waits for its answer. Fails when a worker failed with this entry in its batch.
    ///
    /// May be cancelled and called again.
    pub async fn answer(&mut self) -> Result<A, StorageError> {
        (&mut self.answered).await.map_err(|_| self.limits.given_up_on())
    }
}

impl Limits {
    fn ended(&self) -> StorageError {
        StorageError::Unavailable(format!("{} has ended", self.name))
    }

    fn given_up_on(&self) -> StorageError {
        let name = self.name;
        StorageError::Other {
            message: format!("{name} failed in this batch of writes, and the log says why; to write again is safe"),
            retryable: true,
        }
    }
}
