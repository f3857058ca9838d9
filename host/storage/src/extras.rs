use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reflow_tracing_model::{FlowTrace, TraceId};
use uuid::Uuid;

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

    /// Starts or extends the lease of a host, which is then valid for `duration` by the clock of the store. Returns whether it was
    /// valid until now.
    ///
    /// Hosts that share a store hold the traces that they receive. A host that is killed stops renewing its lease, and the
    /// others see from its expiry that nobody sends what it held any more. A backend without leases MUST return
    /// [`StorageError::Unsupported`] from this method and the next three.
    async fn renew_lease(&self, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
        let _ = (host, duration);
        Err(no_leases())
    }

    /// Notes that `host` holds these traces, and stores the headers of those that have none. Both or neither is stored.
    async fn begin_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        let _ = (host, headers);
        Err(no_leases())
    }

    /// Notes that `host` does not hold these traces any more, and stores those of the headers that have an end and whose traces
    /// have not ended and are not held by another host with a valid lease.
    async fn leave_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        let _ = (host, headers);
        Err(no_leases())
    }

    /// The traces that are held, but only by hosts whose lease has expired: at most `limit` pairs of host and trace.
    async fn abandoned_traces(&self, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
        let _ = limit;
        Err(no_leases())
    }
}

pub(crate) fn no_leases() -> StorageError {
    StorageError::Unsupported("this backend does not know which host receives a trace".into())
}

pub(crate) fn no_headerless_traces() -> StorageError {
    StorageError::Unsupported("this backend can't list traces without a header".into())
}
