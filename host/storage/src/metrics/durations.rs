//! How long calls took, counted so that quantiles and buckets can be told.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Durations in nanoseconds; takes up nothing until the first.
#[derive(Default)]
pub struct Durations(Mutex<Option<Histogram<u64>>>);

/// From a nanosecond to ten minutes, to two digits: some 30 KiB.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 2).expect("the bounds are in order")
}

impl Durations {
    /// Adds a duration.
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.lock().get_or_insert_with(histogram).saturating_record(nanos.max(1));
    }

    /// All of them.
    pub fn lock(&self) -> MutexGuard<'_, Option<Histogram<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds all that were recorded to `sum`, which has the same bounds.
    pub fn add_to(&self, sum: &mut Histogram<u64>) {
        if let Some(durations) = &*self.lock() {
            *sum += durations;
        }
    }
}

/// Upper bounds of the buckets that durations are counted in, in seconds.
const BUCKETS: [f64; 12] = [0.000_01, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How many calls took no longer than a bound.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyBucket {
    /// The bound, in seconds.
    pub le: f64,
    /// The calls, those of smaller buckets included.
    pub count: u64,
}

/// The durations by bucket.
pub fn buckets(durations: &Histogram<u64>) -> Vec<LatencyBucket> {
    let within = |le: f64| LatencyBucket { le, count: durations.count_between(0, (le * 1e9) as u64) };
    BUCKETS.into_iter().map(within).collect()
}
