//! Writes, and the limits of a queue.

use std::time::Duration;

use reflow_tracing_model::TraceId;
use tokio::sync::OwnedSemaphorePermit;

use crate::StorageError;

/// A write that can share a batch.
pub trait Entry: Send + 'static {
    /// The result that its sender waits for.
    type Answer: Send + 'static;

    /// Its size.
    fn size(&self) -> Size;

    /// The traces whose writes must keep their order; none if the order makes no difference.
    fn traces(&self) -> impl Iterator<Item = TraceId> {
        std::iter::empty()
    }

    /// Whether it must be the only write of its batch.
    fn is_alone(&self) -> bool {
        false
    }
}

/// The size of writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// The number of events, headers or jobs.
    pub rows: usize,
    /// Their approximate size in memory.
    pub bytes: usize,
}

impl Size {
    /// A size.
    pub const fn new(rows: usize, bytes: usize) -> Self {
        Self { rows, bytes }
    }

    /// Whether the rows or the bytes reach `limit`.
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

/// The limits of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The name of the workers in errors, such as "the SQLite writer".
    pub name: &'static str,
    /// The maximum of waiting and in-flight writes. A larger write waits until the queue is empty.
    pub total: Size,
    /// A batch of this size takes no more writes.
    pub batch: Size,
    /// A batch of this size is full, and may be in flight beside others.
    pub full: Size,
    /// The maximum number of batches in flight.
    pub at_once: usize,
    /// How long a batch that is not full waits for another such batch. `None` for no limit.
    pub patience: Option<Duration>,
}

impl Limits {
    pub(super) fn ended(&self) -> StorageError {
        StorageError::Unavailable(format!("{} has ended", self.name))
    }

    pub(super) fn failed(&self) -> StorageError {
        let name = self.name;
        StorageError::Other {
            message: format!("{name} failed in this batch of writes; the log has the reason, and a retry is safe"),
            retryable: true,
        }
    }
}

/// The unit of the limit in bytes.
pub(super) const KIB: usize = 1024;

/// The share of [`Limits::total`] that a write holds until it is answered.
pub(super) struct Room {
    pub _rows: OwnedSemaphorePermit,
    pub _bytes: OwnedSemaphorePermit,
}
