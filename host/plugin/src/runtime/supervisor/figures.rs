//! What a plugin did and how long it took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;
pub use reflow_tracing_storage::metrics::LatencyBucket;
use reflow_tracing_storage::metrics::{Durations, buckets, histogram};
use serde::{Deserialize, Serialize};

use crate::function::Function;
use crate::runtime::pool::FailureKind;

/// Figures of a plugin since the process started. All of its versions and instances add to the same.
#[derive(Default)]
pub(crate) struct Figures {
    trapped: AtomicU64,
    timed_out: AtomicU64,
    busy: AtomicU64,
    refused: AtomicU64,
    paused: AtomicU64,
    pub(crate) retries: AtomicU64,
    making: Durations,
    opening: Durations,
    pub(crate) instances_discarded: AtomicU64,
    pub(crate) instances_recycled: AtomicU64,
    pub(crate) instances_busy: AtomicUsize,
    pub(crate) instances_idle: AtomicUsize,
    /// Linear memory of all instances. Shared, since each of them counts its own.
    pub(crate) memory_bytes: Arc<AtomicUsize>,
    pub(crate) reloads: AtomicU64,
    pub(crate) failed_reloads: AtomicU64,
    durations: [Durations; Function::ALL.len()],
}

impl Figures {
    pub(super) fn called(&self, function: Function, took: Duration) {
        self.durations[function as usize].record(took);
    }

    /// An instance was made.
    pub(crate) fn made(&self, took: Duration) {
        self.making.record(took);
    }

    /// An instance was opened.
    pub(crate) fn opened(&self, took: Duration) {
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

    /// A call that was not made, since the plugin is left alone for the moment.
    pub(super) fn not_called(&self) {
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

    /// How long it took to make instances.
    pub(super) fn making(&self) -> PluginCalls {
        PluginCalls::recorded(&self.making)
    }

    /// How long it took instances to open.
    pub(super) fn opening(&self) -> PluginCalls {
        PluginCalls::recorded(&self.opening)
    }

    /// How often each function that was called was, and how long that took.
    pub(super) fn functions(&self) -> BTreeMap<String, PluginCalls> {
        let each = |function: &Function| {
            let durations = self.durations[*function as usize].lock();
            Some((function.name().to_owned(), PluginCalls::of(durations.as_ref()?)))
        };
        Function::ALL.iter().filter_map(each).collect()
    }

    /// All functions together.
    pub(super) fn all(&self) -> PluginCalls {
        let mut all = histogram();
        for durations in &self.durations {
            durations.add_to(&mut all);
        }
        PluginCalls::of(&all)
    }
}

/// What became of a plugin's calls that did not do their work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginErrors {
    /// The plugin trapped, by itself or at a limit.
    pub trapped: u64,
    /// The call's time was up.
    pub timed_out: u64,
    /// No instance came free in time.
    pub busy: u64,
    /// The plugin answered with an error.
    pub refused: u64,
    /// Not called at all, after failures in a row.
    pub paused: u64,
}

/// Calls, and how long they took, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginCalls {
    /// How many there were.
    pub calls: u64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 95 of 100 took no longer.
    pub p95: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// Of all calls together.
    pub sum: f64,
    /// Calls by how long they took.
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
    fn durations_are_told_by_quantile_and_by_bucket() {
        let figures = Figures::default();
        for millis in 1..=100 {
            figures.called(Function::StoreEvents, Duration::from_millis(millis));
        }
        figures.called(Function::GetTraces, Duration::from_micros(1));
        let functions = figures.functions();
        assert_eq!(functions.keys().collect::<Vec<_>>(), ["get-traces", "store-events"]);
        let stored = &functions["store-events"];
        assert_eq!((stored.calls, functions["get-traces"].calls, figures.all().calls), (100, 1, 101));
        assert!((0.049..0.052).contains(&stored.p50), "{stored:?}");
        assert!((0.098..0.102).contains(&stored.p99), "{stored:?}");
        assert!((5.0..5.1).contains(&stored.sum), "{stored:?}");
        let within = |le| stored.buckets.iter().find(|bucket| bucket.le == le).unwrap().count;
        assert_eq!((within(0.000_1), within(0.5), within(5.0)), (0, 100, 100));
        assert!((9..=10).contains(&within(0.01)), "{stored:?}");
    }
}
