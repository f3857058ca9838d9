//! `reflow:capabilities/metrics`: a plugin's own figures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::log::PluginLog;
use crate::bindings::reflow::capabilities::metrics::Host;
use crate::instance::InstanceState;

/// Names that are kept for a plugin.
const MOST_NAMES: usize = 100;
/// The longest name, in bytes.
const MAX_NAME: usize = 64;

/// The upper bounds of a distribution's buckets: three a decade, from a microsecond to a million.
const BOUNDS: [f64; 37] = [
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1,
    5e-1, 1e0, 2.5e0, 5e0, 1e1, 2.5e1, 5e1, 1e2, 2.5e2, 5e2, 1e3, 2.5e3, 5e3, 1e4, 2.5e4, 5e4, 1e5, 2.5e5, 5e5, 1e6,
];

/// The figures of a plugin, of all its instances together. They outlive the instances.
pub(crate) struct PluginMetrics {
    figures: Mutex<Figures>,
    log: Arc<PluginLog>,
}

#[derive(Default)]
struct Figures {
    by_name: BTreeMap<String, Figure>,
    /// Whether the log says that something was ignored.
    warned: bool,
}

/// A figure of a plugin's.
#[derive(Debug, Clone, PartialEq)]
pub enum Figure {
    /// It only grows.
    Count(u64),
    /// It goes up and down.
    Gauge(f64),
    /// What was observed.
    Distribution(Distribution),
}

/// How observations are distributed.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// How many were at most the bound and above the one before; what is above the last bound is in none.
    buckets: Box<[u64; BOUNDS.len()]>,
}

impl Distribution {
    /// The upper bounds of the buckets, ascending, and how many observations were at most that, as a Prometheus histogram
    /// counts them.
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
        Self { figures: Mutex::default(), log: Arc::clone(log) }
    }

    /// All figures, by name.
    pub(crate) fn list(&self) -> Vec<(String, Figure)> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.by_name.iter().map(|(name, figure)| (name.clone(), figure.clone())).collect()
    }

    fn count(&self, name: &str, by: u64) {
        self.change(name, Figure::Count(0), |figure| match figure {
            Figure::Count(count) => {
                *count = count.saturating_add(by);
                true
            }
            _ => false,
        });
    }

    fn gauge(&self, name: &str, value: f64) {
        self.change(name, Figure::Gauge(0.0), |figure| match figure {
            Figure::Gauge(gauge) => {
                *gauge = value;
                true
            }
            _ => false,
        });
    }

    fn observe(&self, name: &str, value: f64) {
        if !value.is_finite() {
            return;
        }
        let none = Distribution { count: 0, sum: 0.0, buckets: Box::new([0; BOUNDS.len()]) };
        self.change(name, Figure::Distribution(none), |figure| match figure {
            Figure::Distribution(distribution) => {
                distribution.observe(value);
                true
            }
            _ => false,
        });
    }

    /// Changes the figure `name`, which is `new` at first. `change` says whether it is of the right kind.
    fn change(&self, name: &str, new: Figure, change: impl FnOnce(&mut Figure) -> bool) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = if !is_name(name) {
            "that is no name: lower-case letters, digits and `_`, a letter first, 64 at most"
        } else if !figures.by_name.contains_key(name) && figures.by_name.len() >= MOST_NAMES {
            "there are 100 names already"
        } else if !change(figures.by_name.entry(name.into()).or_insert(new)) {
            "it is a figure of another kind"
        } else {
            return;
        };
        if !std::mem::replace(&mut figures.warned, true) {
            self.log.warn(&format!("the metric `{name}` is ignored, and so may be others: {problem}"));
        }
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl Host for InstanceState {
    fn count(&mut self, name: String, by: u64) -> wasmtime::Result<()> {
        self.granted.metrics.count(&name, by);
        Ok(())
    }

    fn gauge(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.granted.metrics.gauge(&name, value);
        Ok(())
    }

    fn observe(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.granted.metrics.observe(&name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> PluginMetrics {
        PluginMetrics::new(&Arc::new(PluginLog::new("p")))
    }

    #[test]
    fn figures_of_every_kind_are_kept() {
        let metrics = metrics();
        metrics.count("events", 2);
        metrics.count("events", u64::MAX);
        metrics.gauge("queue", 3.0);
        metrics.gauge("queue", -1.5);
        for value in [0.0, 1e-6, 0.7, 2e6, f64::NAN, f64::INFINITY] {
            metrics.observe("seconds", value);
        }
        let figures = metrics.list();
        assert_eq!(figures[0], ("events".into(), Figure::Count(u64::MAX)));
        assert_eq!(figures[1], ("queue".into(), Figure::Gauge(-1.5)));
        let Figure::Distribution(seconds) = &figures[2].1 else { panic!("{:?}", figures[2]) };
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
        assert_eq!(metrics.list(), [("events".into(), Figure::Count(1))]);
    }

    #[test]
    fn names_are_checked_and_counted() {
        let metrics = metrics();
        for name in ["", "1a", "_a", "A", "a-b", "a b", "\u{e4}", "a\n", &"a".repeat(65)] {
            metrics.count(name, 1);
        }
        assert_eq!(metrics.list(), []);
        for number in 0..200 {
            metrics.count(&format!("n{number}"), 1);
        }
        assert_eq!(metrics.list().len(), 100);
        // Those that are there go on.
        metrics.count("n0", 1);
        assert!(metrics.list().contains(&("n0".into(), Figure::Count(2))));
    }
}
