//! What the thread that writes is asked to do.

use std::time::Duration;

use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::sql::EventRow;
use reflow_tracing_storage::write_queue::{Entry, Size};
use uuid::Uuid;

use crate::header::HeaderRow;

pub(super) enum Write {
    Store {
        headers: Vec<HeaderRow>,
        events: Vec<EventRow>,
    },
    /// Holds the traces for a host, and stores the headers of those that have none.
    Begin(Uuid, Vec<HeaderRow>),
    /// Holds the traces no more, and stores the headers with an end of those that have not ended and that no host holds.
    Leave(Uuid, Vec<HeaderRow>),
    /// The result is 1 if the lease was valid.
    RenewLease(Uuid, Duration),
    /// A batch that doesn't take long.
    DeleteTraces(Vec<TraceId>),
    /// Deletes [`DELETED_AT_ONCE`](crate::rows::DELETED_AT_ONCE) of the traces that started before a time, in nanoseconds since
    /// the epoch, at most.
    DeleteBefore(i64),
    /// Changes nothing, but writes as a small event would; fails if the file can't be written.
    Check,
    /// Gives some free pages back to the file system. The result is how many are left.
    GiveBack,
    /// Moves committed transactions from the log to the file, and waits for the disk.
    Checkpoint,
}

impl Write {
    fn size(&self) -> Size {
        match self {
            Self::Store { headers, events } => {
                let bytes = events.iter().map(EventRow::bytes).sum::<usize>() + headers.len() * HeaderRow::BYTES;
                Size::new(headers.len() + events.len(), bytes)
            }
            Self::Begin(_, headers) | Self::Leave(_, headers) => {
                Size::new(headers.len(), headers.len() * HeaderRow::BYTES)
            }
            _ => Size::new(1, 0),
        }
    }

    /// About how many bytes it adds to the file. Nothing, if it may use the room that is kept for deleting.
    pub(super) fn room(&self) -> u64 {
        let of_headers = |headers: &[HeaderRow]| headers.len() as u64 * HEADER_PAGES;
        match self {
            Self::Store { headers, events } => {
                let bytes = events.iter().map(EventRow::bytes).sum::<usize>() as u64;
                bytes + bytes / 4 + of_headers(headers) + FEW_PAGES
            }
            Self::Begin(_, headers) => of_headers(headers) + FEW_PAGES,
            Self::Check => FEW_PAGES,
            _ => 0,
        }
    }
}

/// The bytes of the pages that a small write changes.
const FEW_PAGES: u64 = 64 << 10;
/// The bytes of the pages that a header changes: those of the table and of its indexes, which are far apart.
const HEADER_PAGES: u64 = 16 << 10;

pub(super) struct Job {
    pub(super) write: Write,
    size: Size,
}

impl Job {
    pub(super) fn new(write: Write) -> Self {
        Self { size: write.size(), write }
    }
}

impl Entry for Job {
    /// What [`Writer::write`](crate::writer::Writer::write) returns.
    type Answer = Result<u64, StorageError>;

    fn size(&self) -> Size {
        self.size
    }
}
