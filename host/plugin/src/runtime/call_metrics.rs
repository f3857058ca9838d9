//! Metrics of the host's calls to a plugin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;
pub use reflow_tracing_storage::metrics::LatencyBucket;
use reflow_tracing_storage::metrics::{Durations, buckets, histogram};
use serde::{Deserialize, Serialize};

use crate::contract::function::Function;
use crate::runtime::failure::FailureKind;

/// Metrics of a plugin since the process started. All of its versions and instances share them.
#[derive(Default)]
pub(crate) struct CallMetrics {
    trapped: AtomicU64,
    timed_out: AtomicU64,
    busy: AtomicU64,
    refused: AtomicU64,
    paused: AtomicU64,
    pub(crate) retries: AtomicU64,
    creation: Durations,
    opening: Durations,
    pub(crate) instances_discarded: AtomicU64,
    pub(crate) instances_recycled: AtomicU64,
    pub(crate) instances_busy: AtomicUsize,
    pub(crate) instances_idle: AtomicUsize,
    /// Linear memory of all instances, each of which adds its own.
    pub(crate) memory_bytes: Arc<AtomicUsize>,
    pub(crate) reloads: AtomicU64,
    pub(crate) failed_reloads: AtomicU64,
    durations: [Durations; Function::ALL.len()],
}

impl CallMetrics {
    pub(super) fn called(&self, function: Function, took: Duration) {
        self.durations[function as usize].record(took);
    }

    pub(crate) fn instance_created(&self, took: Duration) {
        self.creation.record(took);
    }

    pub(crate) fn instance_opened(&self, took: Duration) {
        self.opening.record(took);
    }

    pub(super) fn failed(&self, kind: FailureKind) {
        let counter = match kind {
            FailureKind::Trapped => &self.trapped,
            FailureKind::TimedOut => &self.timed_out,
            FailureKind::Busy => &self.busy,
            FailureKind::Refused => &self.refused,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a call that the open circuit breaker rejected.
    pub(super) fn rejected(&self) {
        self.paused.fetch_add(1, Relaxed);
    }

    pub(super) fn errors(&self) -> PluginErrors {
        PluginErrors {
            trapped: self.trapped.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
            busy: self.busy.load(Relaxed),
            refused: self.refused.load(Relaxed),
            paused: self.paused.load(Relaxed),
        }
    }

    /// Durations of instance creation.
    pub(super) fn creation(&self) -> PluginCalls {
        PluginCalls::recorded(&self.creation)
    }

    /// Durations of `open`.
    pub(super) fn opening(&self) -> PluginCalls {
        PluginCalls::recorded(&self.opening)
    }

    /// Calls by function, without functions that were never called.
    pub(super) fn functions(&self) -> BTreeMap<String, PluginCalls> {
        let each = |function: &Function| {
            let durations = self.durations[*function as usize].lock();
            Some((function.name().to_owned(), PluginCalls::of(durations.as_ref()?)))
        };
        Function::ALL.iter().filter_map(each).collect()
    }

    /// Calls of all functions.
    pub(super) fn all(&self) -> PluginCalls {
        let mut all = histogram();
        for durations in &self.durations {
            durations.add_to(&mut all);
        }
        PluginCalls::of(&all)
    }
}

/// Failed calls of a plugin, by cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginErrors {
    /// The plugin trapped, or exceeded a limit.
    pub trapped: u64,
    /// The call exceeded its time limit.
    pub timed_out: u64,
    /// No instance became free in time.
    pub busy: u64,
    /// The plugin answered with an error.
    pub refused: u64,
    /// The circuit breaker was open after repeated failures, so the plugin was not called.
    pub paused: u64,
}

/// The number of calls and the distribution of their durations, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginCalls {
    /// The number of calls.
    pub calls: u64,
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The maximum.
    pub max: f64,
    /// The total.
    pub sum: f64,
    /// Cumulative histogram buckets.
    pub buckets: Vec<LatencyBucket>,
}

impl PluginCalls {
    fn recorded(durations: &Durations) -> Self {
        durations.lock().as_ref().map(Self::of).unwrap_or_default()
    }

    fn of(durations: &Histogram<u64>) -> Self {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let quantile = |quantile| seconds(durations.value_at_quantile(quantile));
        Self {
            calls: durations.len(),
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: seconds(durations.max()),
            sum: durations.mean() * durations.len() as f64 / 1e9,
            buckets: buckets(durations),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_quantiles_and_buckets() {
        let metrics = CallMetrics::default();
        for millis in 1..=100 {
            metrics.called(Function::StoreEvents, Duration::from_millis(millis));
        }
        metrics.called(Function::GetTraces, Duration::from_micros(1));
        let functions = metrics.functions();
        assert_eq!(functions.keys().collect::<Vec<_>>(), ["get-traces", "store-events"]);
        let stored = &functions["store-events"];
        assert_eq!((stored.calls, functions["get-traces"].calls, metrics.all().calls), (100, 1, 101));
        assert!((0.049..0.052).contains(&stored.p50), "{stored:?}");
        assert!((0.098..0.102).contains(&stored.p99), "{stored:?}");
        assert!((5.0..5.1).contains(&stored.sum), "{stored:?}");
        let within = |le| stored.buckets.iter().find(|bucket| bucket.le == le).unwrap().count;
        assert_eq!((within(0.000_1), within(0.5), within(5.0)), (0, 100, 100));
        assert!((9..=10).contains(&within(0.01)), "{stored:?}");
    }
}
