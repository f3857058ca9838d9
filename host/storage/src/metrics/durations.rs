//! Histograms of latencies.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A histogram of durations in nanoseconds, allocated at the first one.
#[derive(Default)]
pub struct Durations(Mutex<Option<Histogram<u64>>>);

/// A histogram from one nanosecond to ten minutes with two significant digits, about 30 KiB.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 2).expect("the bounds are in order")
}

impl Durations {
    /// Adds a duration.
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.lock().get_or_insert_with(histogram).saturating_record(nanos.max(1));
    }

    /// Locks the histogram; `None` before the first duration.
    pub fn lock(&self) -> MutexGuard<'_, Option<Histogram<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds all durations to `sum`, which has the same bounds.
    pub fn add_to(&self, sum: &mut Histogram<u64>) {
        if let Some(durations) = &*self.lock() {
            *sum += durations;
        }
    }
}

/// Upper bounds of the buckets in seconds.
const BUCKETS: [f64; 12] = [0.000_01, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The number of calls that took at most a bound.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyBucket {
    /// The bound, in seconds.
    pub le: f64,
    /// The number of calls, including those of smaller buckets.
    pub count: u64,
}

/// The cumulative buckets of a histogram.
pub fn buckets(durations: &Histogram<u64>) -> Vec<LatencyBucket> {
    let within = |le: f64| LatencyBucket { le, count: durations.count_between(0, (le * 1e9) as u64) };
    BUCKETS.into_iter().map(within).collect()
}
