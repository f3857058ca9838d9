use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// What is kept. Each bound that is present holds; the oldest traces go first. A trace is as old as its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Traces that started longer ago are deleted.
    pub max_age: Option<Duration>,
    /// So many traces are kept.
    pub max_traces: Option<u64>,
    /// The store is kept to so many bytes, on disk or wherever it is. Needs a backend that can tell its size.
    pub max_bytes: Option<u64>,
}

impl RetentionPolicy {
    /// Whether everything is kept.
    pub fn keeps_everything(&self) -> bool {
        *self == Self::default()
    }

    /// What started before is deleted for its age; `None` when age does not matter.
    pub fn horizon(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let age = TimeDelta::from_std(self.max_age?).ok()?;
        now.checked_sub_signed(age)
    }
}

/// The traces that were deleted, or would be, by the bound that they are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// For their age.
    pub by_age: u64,
    /// For the number of traces.
    pub by_count: u64,
    /// For the size of the store. Before it is done this is an estimate.
    pub by_size: u64,
    /// Left alone, although they are over a bound, since they are being written.
    pub being_written: u64,
}

impl RetentionReport {
    /// All that were deleted.
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
            left => write!(f, "; {left} left alone, since they are being written"),
        }
    }
}
