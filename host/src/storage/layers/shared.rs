//! A backend that several own is a backend.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use crate::storage::{StorageBackend, StorageError, StorageMetrics, StorageStats, TracePart};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: StorageBackend + ?Sized> StorageBackend for Arc<B> {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        (**self).store_trace(trace).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        (**self).get_trace(trace_id).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        (**self).query_traces(query).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        (**self).store_event(trace_id, event).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        (**self).get_events(trace_id).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        (**self).health_check().await
    }

    fn warnings(&self) -> Vec<String> {
        (**self).warnings()
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        (**self).store_traces(traces).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        (**self).store_events(events).await
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        (**self).query_page(query).await
    }

    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        (**self).query_headers(query).await
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        (**self).stream_traces(query)
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        (**self).headerless_traces(after, limit).await
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        (**self).count_traces(query).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        (**self).get_headers(trace_ids).await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        (**self).stream_events(trace_id)
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        (**self).delete_trace(trace_id).await
    }

    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        (**self).delete_traces(trace_ids).await
    }

    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        (**self).delete_before(time).await
    }

    async fn drop_oldest_part(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        (**self).drop_oldest_part(ended_by).await
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        (**self).retention_horizon()
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        (**self).flow_versions(flow_id).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        (**self).stats().await
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        (**self).get_metrics().await
    }

    async fn flush(&self) -> Result<(), StorageError> {
        (**self).flush().await
    }

    async fn close(&self) -> Result<(), StorageError> {
        (**self).close().await
    }
}
