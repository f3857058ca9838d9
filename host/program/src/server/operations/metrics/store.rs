//! The metrics of the store, the same for every backend.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::histogram;
use reflow_tracing::storage::StorageMetrics;

/// The open store.
#[derive(Debug)]
pub struct Store {
    pub figures: StorageMetrics,
    /// The result of the last health check.
    pub healthy: Option<bool>,
}

impl Collector for Store {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let StorageMetrics { traces_stored, events_stored, retries, storage_bytes, .. } = self.figures;
        self.durations(&mut encoder)?;
        self.errors(&mut encoder)?;
        let mut counter = |name, help, count: u64| alone(&mut encoder, name, help, ConstCounter::new(count));
        counter("storage_traces", "Traces that were stored, repetitions included", traces_stored)?;
        counter("storage_events", "Events that were stored, repetitions included", events_stored)?;
        counter("storage_retries", "Retries of calls that failed", retries)?;
        let mut gauge = |name, help, value: u64| alone(&mut encoder, name, help, ConstGauge::new(value));
        if let Some(bytes) = storage_bytes {
            gauge("storage_size_bytes", "Size of the store", bytes)?;
        }
        if let Some(healthy) = self.healthy {
            gauge("storage_healthy", "1 when the last health check succeeded", healthy.into())?;
        }
        if let Some(spool) = &self.figures.spool {
            gauge("spool_pending_events", "Events that wait in the spool", spool.pending_events)?;
            gauge("spool_pending_traces", "Trace headers that wait in the spool", spool.pending_traces)?;
            gauge("spool_bytes", "Size of the spool", spool.bytes)?;
            gauge("spool_max_bytes", "Maximum size of the spool", spool.max_bytes)?;
            gauge("spool_waiting_writers", "Writers that wait for room in the spool", spool.waiting_writers)?;
            gauge("spool_refused", "Spooled writes that the backend refused, kept in the spool", spool.refused)?;
            gauge("spool_away", "1 while the backend is unavailable", spool.away_since.is_some().into())?;
        }
        Ok(())
    }
}

impl Store {
    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Duration of calls to the backend, by method of the contract";
        let mut family =
            encoder.encode_descriptor("storage_call_duration_seconds", help, None, MetricType::Histogram)?;
        for (method, calls) in &self.figures.calls {
            let labels = [("method", method.as_str())];
            let buckets = calls.buckets.iter().map(|bucket| (bucket.le, bucket.count));
            histogram::encode(family.encode_family(&labels)?, calls.total_ms / 1e3, calls.calls, buckets)?;
        }
        Ok(())
    }

    fn errors(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls to the backend that failed, by method and kind of error";
        let mut family = encoder.encode_descriptor("storage_errors", help, None, MetricType::Counter)?;
        for (method, calls) in &self.figures.calls {
            for (kind, count) in &calls.errors_by_kind {
                let labels = [("method", method.as_str()), ("kind", kind.as_str())];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// A metric without labels.
fn alone(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, metric: impl EncodeMetric) -> fmt::Result {
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}
