use std::time::Duration;

use chrono::{DateTime, Utc};
use reflow_tracing_model::TraceId;

use crate::digest::Digest;

/// The result of a migration, an export or an import.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// What was read from the source and, except in a dry run, stored in the target. Includes what the target had already and
    /// what resumed runs did.
    pub copied: Digest,
    /// Traces that had not ended when they were read. The target may lack what happened to them later.
    pub unfinished: u64,
    /// Traces that are older than the retention of the target (see [`retention_horizon`]).
    ///
    /// [`retention_horizon`]: reflow_tracing_storage::StorageBackendExt::retention_horizon
    pub expired: u64,
    /// The number of unreadable locations in the source. [`Progress::Unreadable`] reports each.
    pub unreadable: u64,
    /// Traces of the source that were not read, because they were stored during the migration with an earlier start than the
    /// traces read then. None after verification, which finds and copies them.
    pub missed: u64,
    /// Whether the source can't list traces without a header, so that they were not read.
    pub headerless_unlisted: bool,
    /// Events of the source that were not read, as far as it can count them: most likely of traces without a header that it
    /// can't list.
    pub unread_events: u64,
    /// The result of the verification, if it was requested.
    pub verification: Option<Verification>,
    /// The duration of this run.
    pub took: Duration,
}

impl MigrationReport {
    /// Whether the target has everything that the source had, as far as this run can tell.
    pub fn is_complete(&self) -> bool {
        let differs = self.verification.as_ref().is_some_and(|verification| verification.differing > 0);
        self.unreadable == 0 && self.missed == 0 && self.unread_events == 0 && !differs
    }

    /// Logs a warning if the retention of the target is about to delete copied traces.
    pub(crate) fn warn_of_expiry(&self, horizon: Option<DateTime<Utc>>) {
        if let (1.., Some(horizon)) = (self.expired, horizon) {
            tracing::warn!(
                "{} of the traces started before {horizon}: the retention of the target deletes them. To keep them, keep \
                 traces longer there, and copy them again",
                self.expired
            );
        }
    }
}

/// The result of comparing the target with the source.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Verification {
    /// The digest of the source.
    pub source: Digest,
    /// The digest of the same traces in the target.
    pub target: Digest,
    /// Traces that differed and were copied again: they changed or arrived after they were copied.
    pub copied_again: u64,
    /// Traces that differ.
    pub differing: u64,
    /// The first hundred of those.
    pub first_differing: Vec<TraceId>,
    /// Traces that only the target has.
    pub in_target_alone: u64,
}

/// The progress of a migration, an export or an import.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Progress {
    /// The start of the copy.
    Started {
        /// The number of matching traces with a header.
        traces: u64,
        /// How many of them earlier runs have copied.
        resumed: Digest,
    },
    /// What was copied so far, including resumed runs.
    Copied(Digest),
    /// Unreadable data was skipped: its location and the problem.
    Unreadable(String),
    /// What was verified so far.
    Compared(Digest),
}
