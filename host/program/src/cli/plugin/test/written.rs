//! A store that remembers what was written to it, so that it can be emptied after a case.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::plugin::PluginBackend;
use crate::storage::{StorageBackend, StorageError, StorageMetrics, StorageStats, TracePart};
use crate::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};

/// The traces that were written, over all stores of a run.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<HashSet<TraceId>>>);

impl Written {
    fn add(&self, ids: impl IntoIterator<Item = TraceId>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    /// Deletes all of them, and nothing else.
    pub(super) async fn delete_from(&self, store: &PluginBackend) -> Result<(), StorageError> {
        let ids = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        store.delete_traces(ids.into_iter().collect()).await.map(drop)
    }
}

/// Forwards everything.
pub(super) struct Remembering {
    pub store: PluginBackend,
    pub written: Written,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageBackend for Remembering {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.written.add([trace.trace_id]);
        self.store.store_trace(trace).await
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.written.add(traces.iter().map(|trace| trace.trace_id));
        self.store.store_traces(traces).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.written.add([trace_id]);
        self.store.store_event(trace_id, event).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        self.written.add(events.iter().map(|(trace_id, _)| *trace_id));
        self.store.store_events(events).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.store.get_trace(trace_id).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        self.store.get_headers(trace_ids).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.store.get_events(trace_id).await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        self.store.stream_events(trace_id)
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.store.query_traces(query).await
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.store.query_page(query).await
    }

    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        self.store.query_headers(query).await
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        self.store.stream_traces(query)
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.store.headerless_traces(after, limit).await
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        self.store.count_traces(query).await
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        self.store.delete_trace(trace_id).await
    }

    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        self.store.delete_traces(trace_ids).await
    }

    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        self.store.delete_before(time).await
    }

    async fn drop_oldest_part(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        self.store.drop_oldest_part(ended_by).await
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        self.store.retention_horizon()
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        self.store.flow_versions(flow_id).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.store.stats().await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.store.health_check().await
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        self.store.get_metrics().await
    }

    fn warnings(&self) -> Vec<String> {
        self.store.warnings()
    }

    async fn flush(&self) -> Result<(), StorageError> {
        self.store.flush().await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.store.close().await
    }
}
