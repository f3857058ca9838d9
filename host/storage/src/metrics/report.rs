use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::durations::{LatencyBucket, buckets};
use super::spool::SpoolMetrics;

/// How a store performs, since it was opened.
///
/// Latencies are those of the calls that have ended, failed ones included. MB are of 1024 times 1024 bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StorageMetrics {
    /// Of a call that stores traces or events, on average, in milliseconds; 0 before the first.
    pub avg_write_latency_ms: f64,
    /// Of a call that reads traces or events by their id, on average, in milliseconds; 0 before the first.
    pub avg_read_latency_ms: f64,
    /// Of a call that answers a query, on average, in milliseconds; 0 before the first.
    pub avg_query_latency_ms: f64,
    /// What the store takes up, in MB; not a number (`f64::NAN`, in JSON `null`) where the backend can't tell.
    #[serde(with = "unknown_as_null")]
    pub storage_size_mb: f64,
    /// The same in bytes.
    pub storage_bytes: Option<u64>,
    /// Calls that store.
    pub writes: CallMetrics,
    /// Calls that read by id.
    pub reads: CallMetrics,
    /// Calls that answer queries.
    pub queries: CallMetrics,
    /// Calls that delete.
    pub deletes: CallMetrics,
    /// Every method of the contract that was called, by its name.
    pub calls: BTreeMap<String, CallMetrics>,
    /// Traces that were stored, again included.
    pub traces_stored: u64,
    /// Events that were stored, again included.
    pub events_stored: u64,
    /// Attempts after the first, of calls that failed with a transient error.
    pub retries: u64,
    /// What waits in the spool, if there is one.
    pub spool: Option<SpoolMetrics>,
}

/// What became of calls, and how long they took, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallMetrics {
    /// How many there were.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that failed, by the kind of the error; `abandoned` are those that nobody waited for any more.
    pub errors_by_kind: BTreeMap<String, u64>,
    /// The mean.
    pub avg_ms: f64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// All of them together.
    pub total_ms: f64,
    /// Calls by how long they took.
    pub buckets: Vec<LatencyBucket>,
}

impl StorageMetrics {
    /// Those of a store whose calls nobody measured.
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
        // Of no values it is not a number.
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

/// JSON has no way to write what is not a number.
mod unknown_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*number).filter(|number| !number.is_nan()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}
