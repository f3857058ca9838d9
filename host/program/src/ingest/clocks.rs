//! Times that can't be right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// How far the time of an event may be from the host's clock. Clocks differ, and clients keep events while a host is away.
const PLAUSIBLE: TimeDelta = TimeDelta::days(1);

/// Whether a time can be right for what arrives at `now`.
pub(super) fn is_plausible(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (time - now).abs() <= PLAUSIBLE
}

/// Counts events whose time can't be right. Clones count together.
#[derive(Clone, Default)]
pub struct Clocks(Arc<AtomicU64>);

impl Clocks {
    /// The events so far whose time was more than a day from the host's clock.
    pub fn implausible(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Checks the time of an event that arrived at `now`.
    pub(super) fn note(&self, time: DateTime<Utc>, now: DateTime<Utc>) {
        if is_plausible(time, now) {
            return;
        }
        let events = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        // Often enough to be seen, too seldom to fill the log.
        if events.is_power_of_two() {
            tracing::warn!(
                events,
                %time,
                "an event has a time that is more than a day from this host's clock; retention of its trace goes by the time when \
                 the host received it; set the clock of the sender"
            );
        }
    }
}
