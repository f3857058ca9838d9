use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reflow_tracing_model::{TraceId, TracePage, TraceQuery};

use super::extras::no_headerless_traces;
use super::{Deletion, PageRequest, StorageBackend, StorageError};

/// Shorthands for callers of a [`StorageBackend`]. Every backend has them; none implements them.
#[async_trait]
pub trait StorageBackendExt: StorageBackend {
    /// The headers of the traces that match, without their events, a page at a time.
    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.query_page(PageRequest::headers(query)).await
    }

    /// How many traces match, whatever the query's window.
    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        // What is asked below has another limit.
        query.validate().map_err(StorageError::InvalidArgument)?;
        let page = self.query_page(PageRequest::count(query)).await?;
        page.total.ok_or_else(|| StorageError::Unsupported("this backend can't count the traces that match".into()))
    }

    /// Deletes a trace with its events. Returns whether there was anything to delete.
    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        Ok(self.delete(Deletion::Traces(vec![trace_id])).await? > 0)
    }

    /// Deletes traces with their events. Returns how many of them there were.
    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        self.delete(Deletion::Traces(trace_ids)).await
    }

    /// Deletes the traces that started before `time`, with their events. Returns how many there were.
    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        self.delete(Deletion::StartedBefore(time)).await
    }

    /// What an operator should know although the store can do its work; empty when there is nothing.
    fn warnings(&self) -> Vec<String> {
        self.extras().map_or_else(Vec::new, |extras| extras.warnings())
    }

    /// The time before which the store lets traces expire; `None` when it keeps traces whatever their age.
    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        self.extras()?.retention_horizon()
    }

    /// How many writes the store does at the same time.
    fn concurrent_writes(&self) -> usize {
        self.extras().map_or(1, |extras| extras.concurrent_writes())
    }

    /// The ids of the traces of which events are stored and no header, ascending: at most `limit`, those after `after`.
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        match self.extras() {
            Some(extras) => extras.headerless_traces(after, limit).await,
            None => Err(no_headerless_traces()),
        }
    }

    /// Drops the oldest partition of traces, if it ended at `ended_by` or before. Returns how many traces it held, 0 when there
    /// is no such partition; `None` where traces are not kept in partitions.
    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        match self.extras() {
            Some(extras) => extras.drop_oldest_partition(ended_by).await,
            None => Ok(None),
        }
    }
}

impl<B: StorageBackend + ?Sized> StorageBackendExt for B {}
