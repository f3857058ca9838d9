use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// What to keep. Every bound that is set applies; the oldest traces are deleted first. The age of a trace counts
/// from its start, or from when a host received it if its own times can't be right
/// ([`FlowTrace::received_at`](reflow_tracing_model::FlowTrace::received_at)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The maximum age.
    pub max_age: Option<Duration>,
    /// The maximum number of traces.
    pub max_traces: Option<u64>,
    /// The maximum size of the store in bytes. Requires a backend that reports its size.
    pub max_bytes: Option<u64>,
}

impl RetentionPolicy {
    /// Whether everything is kept.
    pub fn keeps_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Traces that started before this time are too old; `None` if the age is not limited.
    pub fn horizon(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let age = TimeDelta::from_std(self.max_age?).ok()?;
        now.checked_sub_signed(age)
    }
}

/// The number of traces that were deleted, or would be, per bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Because of their age.
    pub by_age: u64,
    /// Because of the number of traces.
    pub by_count: u64,
    /// Because of the size of the store. In a dry run, an estimate.
    pub by_size: u64,
    /// Kept although they exceed a bound, because they are being written.
    pub being_written: u64,
}

impl RetentionReport {
    /// The total number of deleted traces.
    pub fn deleted(&self) -> u64 {
        self.by_age + self.by_count + self.by_size
    }
}

impl fmt::Display for RetentionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by_age, by_count, by_size, being_written } = self;
        let deleted = self.deleted();
        let traces = if deleted == 1 { "trace" } else { "traces" };
        write!(f, "{deleted} {traces}: {by_age} for age, {by_count} for number, {by_size} for size")?;
        match being_written {
            0 => Ok(()),
            left => write!(f, "; {left} kept because they are being written"),
        }
    }
}
