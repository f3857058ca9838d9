//! `reflow:capabilities/metrics`: the metrics that a plugin records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::log::PluginLog;

/// Maximum names per plugin.
const MAX_NAMES: usize = 100;
/// Maximum length of a name, in bytes.
const MAX_NAME: usize = 64;

/// The upper bounds of a histogram's buckets: three per decade, from 1e-6 to 1e6.
const BOUNDS: [f64; 37] = [
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1,
    5e-1, 1e0, 2.5e0, 5e0, 1e1, 2.5e1, 5e1, 1e2, 2.5e2, 5e2, 1e3, 2.5e3, 5e3, 1e4, 2.5e4, 5e4, 1e5, 2.5e5, 5e5, 1e6,
];

/// The metrics of a plugin, of all its instances together. They outlive the instances.
pub(crate) struct PluginMetrics {
    state: Mutex<State>,
    log: Arc<PluginLog>,
}

#[derive(Default)]
struct State {
    by_name: BTreeMap<String, Metric>,
    /// Whether the warning about ignored metrics was logged.
    warned: bool,
}

/// A metric that a plugin records.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
    /// A distribution of observations.
    Histogram(Histogram),
}

/// A distribution of observations.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// The number of observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The observations in each bucket, not cumulative. Values above the last bound are in none.
    buckets: Box<[u64; BOUNDS.len()]>,
}

impl Histogram {
    /// The upper bounds of the buckets, ascending, with cumulative counts, as in a Prometheus histogram.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        BOUNDS.iter().zip(self.buckets.iter()).scan(0, |below, (&bound, &count)| {
            *below += count;
            Some((bound, *below))
        })
    }

    fn observe(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        self.sum += value;
        let bucket = BOUNDS.partition_point(|bound| *bound < value);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }
}

impl PluginMetrics {
    pub(crate) fn new(log: &Arc<PluginLog>) -> Self {
        Self { state: Mutex::default(), log: Arc::clone(log) }
    }

    /// All metrics, by name.
    pub(crate) fn list(&self) -> Vec<(String, Metric)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.by_name.iter().map(|(name, metric)| (name.clone(), metric.clone())).collect()
    }

    pub(super) fn count(&self, name: &str, by: u64) {
        self.change(name, Metric::Counter(0), |metric| match metric {
            Metric::Counter(count) => {
                *count = count.saturating_add(by);
                true
            }
            _ => false,
        });
    }

    pub(super) fn gauge(&self, name: &str, value: f64) {
        self.change(name, Metric::Gauge(0.0), |metric| match metric {
            Metric::Gauge(gauge) => {
                *gauge = value;
                true
            }
            _ => false,
        });
    }

    pub(super) fn observe(&self, name: &str, value: f64) {
        if !value.is_finite() {
            return;
        }
        let none = Histogram { count: 0, sum: 0.0, buckets: Box::new([0; BOUNDS.len()]) };
        self.change(name, Metric::Histogram(none), |metric| match metric {
            Metric::Histogram(distribution) => {
                distribution.observe(value);
                true
            }
            _ => false,
        });
    }

    /// Changes the metric `name`, which starts as `new`. `change` returns false when the metric is of another kind.
    fn change(&self, name: &str, new: Metric, change: impl FnOnce(&mut Metric) -> bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = if !is_name(name) {
            "the name is not valid: it needs lower-case letters, digits and `_`, a letter first, at most 64"
        } else if !state.by_name.contains_key(name) && state.by_name.len() >= MAX_NAMES {
            "the plugin already has 100 metrics"
        } else if !change(state.by_name.entry(name.into()).or_insert(new)) {
            "the name belongs to a metric of another kind"
        } else {
            return;
        };
        if !std::mem::replace(&mut state.warned, true) {
            self.log.warn(&format!(
                "the metric `{name}` is ignored; later ones may be ignored without a warning: {problem}"
            ));
        }
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> PluginMetrics {
        PluginMetrics::new(&Arc::new(PluginLog::new("p")))
    }

    #[test]
    fn metrics_of_every_kind_are_recorded() {
        let metrics = metrics();
        metrics.count("events", 2);
        metrics.count("events", u64::MAX);
        metrics.gauge("queue", 3.0);
        metrics.gauge("queue", -1.5);
        for value in [0.0, 1e-6, 0.7, 2e6, f64::NAN, f64::INFINITY] {
            metrics.observe("seconds", value);
        }
        let listed = metrics.list();
        assert_eq!(listed[0], ("events".into(), Metric::Counter(u64::MAX)));
        assert_eq!(listed[1], ("queue".into(), Metric::Gauge(-1.5)));
        let Metric::Histogram(seconds) = &listed[2].1 else { panic!("{:?}", listed[2]) };
        assert_eq!((seconds.count, seconds.sum), (4, 0.0 + 1e-6 + 0.7 + 2e6));
        let at_most = |bound: f64| seconds.buckets().find(|bucket| bucket.0 == bound).map(|bucket| bucket.1);
        assert_eq!((at_most(1e-6), at_most(0.5), at_most(1.0), at_most(1e6)), (Some(2), Some(2), Some(3), Some(3)));
    }

    #[test]
    fn a_name_keeps_its_kind() {
        let metrics = metrics();
        metrics.count("events", 1);
        metrics.gauge("events", 7.0);
        metrics.observe("events", 7.0);
        assert_eq!(metrics.list(), [("events".into(), Metric::Counter(1))]);
    }

    #[test]
    fn names_are_validated_and_limited() {
        let metrics = metrics();
        for name in ["", "1a", "_a", "A", "a-b", "a b", "\u{e4}", "a\n", &"a".repeat(65)] {
            metrics.count(name, 1);
        }
        assert_eq!(metrics.list(), []);
        for number in 0..200 {
            metrics.count(&format!("n{number}"), 1);
        }
        assert_eq!(metrics.list().len(), 100);
        // Existing metrics still change.
        metrics.count("n0", 1);
        assert!(metrics.list().contains(&("n0".into(), Metric::Counter(2))));
    }
}
