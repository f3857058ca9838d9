use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reflow_tracing_model::{FlowTrace, TraceId, TracePage, TraceQuery};
use uuid::Uuid;

use super::extras::{no_headerless_traces, no_leases};
use super::{Deletion, PageRequest, StorageBackend, StorageError};

/// Shorthands for callers of a [`StorageBackend`]. Every backend has them; don't implement them.
#[async_trait]
pub trait StorageBackendExt: StorageBackend {
    /// One page of the headers of matching traces, without their events.
    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.query_page(PageRequest::headers(query)).await
    }

    /// The number of matching traces, regardless of limit and offset.
    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        // The request below has another limit, so check this one first.
        query.validate().map_err(StorageError::InvalidArgument)?;
        let page = self.query_page(PageRequest::count(query)).await?;
        page.total.ok_or_else(|| StorageError::Unsupported("this backend can't count the traces that match".into()))
    }

    /// Deletes a trace with its events. Returns whether there was anything to delete.
    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        Ok(self.delete(Deletion::Traces(vec![trace_id])).await? > 0)
    }

    /// Deletes traces with their events. Returns the number of deleted traces.
    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        self.delete(Deletion::Traces(trace_ids)).await
    }

    /// Deletes the traces that started before `time`, with their events. Returns the number of deleted traces.
    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        self.delete(Deletion::StartedBefore(time)).await
    }

    /// Warnings for the operator of a store that works; empty if there are none.
    fn warnings(&self) -> Vec<String> {
        self.extras().map_or_else(Vec::new, |extras| extras.warnings())
    }

    /// The time before which traces expire; `None` if the store keeps traces regardless of age.
    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        self.extras()?.retention_horizon()
    }

    /// How many writes the store does at the same time.
    fn concurrent_writes(&self) -> usize {
        self.extras().map_or(1, |extras| extras.concurrent_writes())
    }

    /// The ids of traces that have events but no header, ascending: at most `limit` ids, all greater than `after`.
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        match self.extras() {
            Some(extras) => extras.headerless_traces(after, limit).await,
            None => Err(no_headerless_traces()),
        }
    }

    /// Drops the oldest non-empty partition of traces if it ended at `ended_by` or before. Returns the number of traces in it, 0
    /// if there is no such partition, and `None` if the store has no partitions.
    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        match self.extras() {
            Some(extras) => extras.drop_oldest_partition(ended_by).await,
            None => Ok(None),
        }
    }

    /// Starts or extends the lease of a host. Returns whether it was valid until now.
    async fn renew_lease(&self, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
        self.extras().ok_or_else(no_leases)?.renew_lease(host, duration).await
    }

    /// Notes that `host` holds these traces, and stores the headers of those that have none.
    async fn begin_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.extras().ok_or_else(no_leases)?.begin_traces(host, headers).await
    }

    /// Notes that `host` does not hold these traces any more, and stores those of the headers that have an end and whose traces
    /// have not ended and are not held by another host with a valid lease.
    async fn leave_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.extras().ok_or_else(no_leases)?.leave_traces(host, headers).await
    }

    /// The traces that are held, but only by hosts whose lease has expired: at most `limit` pairs of host and trace.
    async fn abandoned_traces(&self, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
        self.extras().ok_or_else(no_leases)?.abandoned_traces(limit).await
    }
}

impl<B: StorageBackend + ?Sized> StorageBackendExt for B {}
