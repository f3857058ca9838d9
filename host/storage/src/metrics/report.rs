use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::durations::{LatencyBucket, buckets};

/// Performance of a store since it was opened.
///
/// Latencies include calls that failed, but not calls in progress. 1 MB is 1024 × 1024 bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StorageMetrics {
    /// Average latency in milliseconds of calls that store traces or events; 0 before the first call.
    pub avg_write_latency_ms: f64,
    /// Average latency in milliseconds of calls that read traces or events by id; 0 before the first call.
    pub avg_read_latency_ms: f64,
    /// Average latency in milliseconds of calls that answer queries; 0 before the first call.
    pub avg_query_latency_ms: f64,
    /// The size of the store in MB; `f64::NAN` (in JSON `null`) if the backend can't report it.
    #[serde(with = "unknown_as_null")]
    pub storage_size_mb: f64,
    /// The size of the store in bytes.
    pub storage_bytes: Option<u64>,
    /// Calls that store.
    pub writes: CallMetrics,
    /// Calls that read by id.
    pub reads: CallMetrics,
    /// Calls that answer queries.
    pub queries: CallMetrics,
    /// Calls that delete.
    pub deletes: CallMetrics,
    /// Statistics per method of the contract, for methods that were called.
    pub calls: BTreeMap<String, CallMetrics>,
    /// Traces stored, including repetitions.
    pub traces_stored: u64,
    /// Events stored, including repetitions.
    pub events_stored: u64,
    /// Retries after a transient error.
    pub retries: u64,
    /// The state of the spool, if there is one.
    pub spool: Option<SpoolMetrics>,
    /// The backends that get every write besides the store, if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<AlsoMetrics>,
}

/// Statistics of calls: outcomes, and latencies in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallMetrics {
    /// Number of calls.
    pub calls: u64,
    /// Number of calls that failed.
    pub errors: u64,
    /// Number of calls that failed, by kind of error. `abandoned` counts calls that their caller cancelled.
    pub errors_by_kind: BTreeMap<String, u64>,
    /// Average latency.
    pub avg_ms: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Maximum latency.
    pub max_ms: f64,
    /// Sum of all latencies.
    pub total_ms: f64,
    /// Cumulative histogram of latencies.
    pub buckets: Vec<LatencyBucket>,
}

impl StorageMetrics {
    /// The metrics of a store whose calls are not measured.
    pub fn unmeasured(storage_bytes: Option<u64>) -> Self {
        const MB: f64 = 1024.0 * 1024.0;
        Self {
            storage_size_mb: storage_bytes.map_or(f64::NAN, |bytes| bytes as f64 / MB),
            storage_bytes,
            ..Self::default()
        }
    }
}

impl CallMetrics {
    pub(super) fn new(durations: &Histogram<u64>, errors_by_kind: BTreeMap<String, u64>) -> Self {
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let quantile = |quantile| ms(durations.value_at_quantile(quantile));
        // The mean of an empty histogram is NaN.
        let avg_ms = if durations.is_empty() { 0.0 } else { durations.mean() / 1e6 };
        Self {
            calls: durations.len(),
            errors: errors_by_kind.values().sum(),
            errors_by_kind,
            avg_ms,
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            max_ms: ms(durations.max()),
            total_ms: avg_ms * durations.len() as f64,
            buckets: buckets(durations),
        }
    }
}

/// The state of a spool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpoolMetrics {
    /// Events waiting to be stored.
    pub pending_events: u64,
    /// Trace headers waiting to be stored.
    pub pending_traces: u64,
    /// The size of the waiting writes in bytes.
    pub bytes: u64,
    /// The maximum of `bytes`.
    pub max_bytes: u64,
    /// Writers blocked because the spool is full.
    pub waiting_writers: u64,
    /// Writes that the backend rejected when they were replayed. The file keeps them.
    pub refused: u64,
    /// When the backend became unavailable; `None` while it is available.
    pub away_since: Option<DateTime<Utc>>,
    /// Why the backend is unavailable.
    pub error: Option<String>,
}

impl SpoolMetrics {
    /// Whether reads are up to date: the backend is available and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pending_events == 0 && self.pending_traces == 0 && self.away_since.is_none()
    }

    /// Whether writers are blocked.
    pub fn is_full(&self) -> bool {
        self.waiting_writers > 0 || self.bytes >= self.max_bytes
    }
}

/// The state of a backend that gets every write besides the store, since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AlsoMetrics {
    /// Its name.
    pub backend: String,
    /// What waits for it.
    pub queue: SpoolMetrics,
    /// Events that it stored, repetitions included.
    pub delivered_events: u64,
    /// Trace headers that it stored, repetitions included.
    pub delivered_traces: u64,
    /// Deliveries that failed and are tried again.
    pub failed_deliveries: u64,
    /// Events that it does not get, because its queue was full or could not be written.
    pub dropped_events: u64,
    /// Trace headers that it does not get.
    pub dropped_traces: u64,
    /// When a write was dropped last.
    pub last_drop: Option<DateTime<Utc>>,
    /// Why it was dropped.
    pub drop_reason: Option<String>,
}

/// JSON can't represent NaN.
mod unknown_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*number).filter(|number| !number.is_nan()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}
