use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reflow_tracing_model::TraceId;

use super::StorageError;

/// Optional capabilities of a store. A backend returns itself from [`extras`](super::StorageBackend::extras) and overrides the
/// methods that it supports. A [`Layer`](super::Layer) forwards them.
#[async_trait]
pub trait StorageExtras: Send + Sync {
    /// Warnings for the operator of a store that works; empty if there are none. MUST NOT block.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The time before which traces expire. The store may delete a trace that started earlier at any moment, even right after
    /// it was stored. `None` if the store keeps traces regardless of age.
    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// How many writes the store does at the same time, each with its own transaction or statement. A sender that groups
    /// writes keeps as many batches under way. MUST NOT wait.
    fn concurrent_writes(&self) -> usize {
        1
    }

    /// The ids of traces that have events but no header, ascending: at most `limit` ids, all greater than `after`.
    ///
    /// A backend that can't list them MUST return [`StorageError::Unsupported`].
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        let _ = (after, limit);
        Err(no_headerless_traces())
    }

    /// Drops the oldest non-empty partition of traces if it ended at `ended_by` or before. Returns the number of traces in
    /// it, 0 if there is no such partition, and `None` if the store has no partitions.
    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        let _ = ended_by;
        Ok(None)
    }
}

pub(crate) fn no_headerless_traces() -> StorageError {
    StorageError::Unsupported("this backend can't list traces without a header".into())
}
