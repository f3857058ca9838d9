use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reflow_tracing_model::TraceId;

use super::StorageError;

/// What only some stores can do. A backend hands it out with [`extras`](super::StorageBackend::extras), and overrides what it
/// can do. A [`Layer`](super::Layer) has it by itself.
#[async_trait]
pub trait StorageExtras: Send + Sync {
    /// What an operator should know although the store can do its work; empty when there is nothing. MUST NOT wait.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The time before which the store lets traces expire: one that started earlier may be deleted at any moment, also
    /// right after it was stored. `None` when it keeps traces whatever their age.
    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// How many writes the store does at the same time, each with its own transaction or statement. A sender that groups
    /// writes keeps as many batches under way. MUST NOT wait.
    fn concurrent_writes(&self) -> usize {
        1
    }

    /// The ids of the traces of which events are stored and no header, ascending: at most `limit`, those that come after
    /// `after`.
    ///
    /// A backend that can't tell MUST return [`StorageError::Unsupported`].
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        let _ = (after, limit);
        Err(no_headerless_traces())
    }

    /// Drops the oldest partition of traces that holds any, if it ended at `ended_by` or before. Returns how many traces
    /// it held, 0 when there is no such partition; `None` where traces are not kept in partitions.
    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        let _ = ended_by;
        Ok(None)
    }
}

pub(crate) fn no_headerless_traces() -> StorageError {
    StorageError::Unsupported("this backend can't list traces without a header".into())
}
