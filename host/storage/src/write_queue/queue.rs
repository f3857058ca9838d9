//! The senders' end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, oneshot};

use super::batches::Batches;
use super::entry::{Entry, KIB, Limits, Room, Size};
use super::state::{Queued, Shared};
use crate::StorageError;

/// The senders' end. Clones share the queue. When the last clone and the last [`Lane`] are dropped, the workers store the waiting
/// writes and end.
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

impl<E: Entry> WriteQueue<E> {
    /// Both ends of an empty queue.
    pub fn new(limits: Limits) -> (Self, Batches<E>) {
        let rows = Arc::new(Semaphore::new(limits.total.rows));
        let bytes = Arc::new(Semaphore::new(limits.total.bytes / KIB));
        let shared = Arc::new(Shared::new(limits));
        let batches = Batches::new(shared.clone(), [rows.clone(), bytes.clone()]);
        // Lane 0 is shared by senders without a lane of their own.
        let sender = Sender { shared, rows, bytes, next_lane: AtomicU64::new(1) };
        (Self { sender: Arc::new(sender) }, batches)
    }

    /// A lane for one sender.
    pub fn lane(&self) -> Lane<E> {
        Lane { queue: self.clone(), number: self.sender.next_lane.fetch_add(1, Ordering::Relaxed) }
    }

    /// Stores `entry`: waits for room, then for its answer. If this is cancelled, `entry` may still be stored.
    ///
    /// Fails if the workers have ended, or a worker failed with this entry in its batch.
    pub async fn write(&self, entry: E) -> Result<E::Answer, StorageError> {
        self.push(0, entry).await?.answer().await
    }

    /// Waits until all earlier writes are answered. Fails if the workers have ended.
    pub async fn drained(&self) -> Result<(), StorageError> {
        // Room is granted in the order of requests, so all of it is free only after all earlier writes.
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
        Ok(self.add(lane, entry, Room { _rows: rows, _bytes: bytes }))
    }

    fn try_push(&self, lane: u64, entry: E) -> Result<Ticket<E::Answer>, E> {
        let [rows, bytes] = self.needs(&entry);
        let Ok(rows) = self.sender.rows.clone().try_acquire_many_owned(rows) else { return Err(entry) };
        let Ok(bytes) = self.sender.bytes.clone().try_acquire_many_owned(bytes) else { return Err(entry) };
        Ok(self.add(lane, entry, Room { _rows: rows, _bytes: bytes }))
    }

    /// The permits that an entry needs: at most all of them.
    fn needs(&self, entry: &E) -> [u32; 2] {
        let Size { rows, bytes } = entry.size();
        let total = self.limits().total;
        let kib = bytes.div_ceil(KIB).min(total.bytes / KIB);
        [rows.min(total.rows), kib].map(|permits| u32::try_from(permits).unwrap_or(u32::MAX))
    }

    fn add(&self, lane: u64, entry: E, room: Room) -> Ticket<E::Answer> {
        let (answer, answered) = oneshot::channel();
        self.sender.shared.push(lane, Queued { size: entry.size(), entry, answer, room });
        Ticket { answered, limits: *self.limits() }
    }
}

/// The writes of one sender, which keep their order.
pub struct Lane<E: Entry> {
    queue: WriteQueue<E>,
    number: u64,
}

impl<E: Entry> Lane<E> {
    /// Adds `entry` if there is room now. Returns it if there is none, or the workers have ended.
    pub fn try_push(&self, entry: E) -> Result<Ticket<E::Answer>, E> {
        self.queue.try_push(self.number, entry)
    }

    /// Adds `entry` when there is room. Fails if the workers have ended.
    pub fn push(&self, entry: E) -> impl Future<Output = Result<Ticket<E::Answer>, StorageError>> + use<E> {
        let (queue, number) = (self.queue.clone(), self.number);
        async move { queue.push(number, entry).await }
    }
}

/// A write in the queue.
pub struct Ticket<A> {
    answered: oneshot::Receiver<A>,
    limits: Limits,
}

impl<A> Ticket<A> {
    /// Waits for its answer. Fails if a worker failed with this entry in its batch.
    ///
    /// May be cancelled and called again.
    pub async fn answer(&mut self) -> Result<A, StorageError> {
        (&mut self.answered).await.map_err(|_| self.limits.failed())
    }
}
