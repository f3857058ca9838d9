use std::time::Duration;

use chrono::{DateTime, Utc};
use reflow_tracing_model::TraceId;

use crate::digest::Digest;

/// What a migration, an export or an import did.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// What was read from the source, and, unless it was a dry run, stored in the target: what that had already included,
    /// and what earlier runs did that were resumed.
    pub copied: Digest,
    /// Traces that had not ended when they were read. What happened to them since may be missing in the target.
    pub unfinished: u64,
    /// Traces that are older than the target keeps (see [`retention_horizon`]).
    ///
    /// [`retention_horizon`]: reflow_tracing_storage::StorageBackendExt::retention_horizon
    pub expired: u64,
    /// How many places of the source could not be read, each once. [`Progress::Unreadable`] says which.
    pub unreadable: u64,
    /// Traces that the source held at the end and that were not read: they were stored, meanwhile, with a start before those
    /// that had been read. None when the target was verified, which finds and copies them.
    pub missed: u64,
    /// Whether the source can't list the traces without a header. Then they were not read, if there are any.
    pub headerless_unlisted: bool,
    /// Events in the source that were not read, as far as it can count them: most likely of traces without a header, from
    /// a source that can't list them.
    pub unread_events: u64,
    /// How the target compares, if that was asked for.
    pub verification: Option<Verification>,
    /// How long it took, earlier runs aside.
    pub took: Duration,
}

impl MigrationReport {
    /// Whether the target has all that the source had, as far as this run can know.
    pub fn is_complete(&self) -> bool {
        let differs = self.verification.as_ref().is_some_and(|verification| verification.differing > 0);
        self.unreadable == 0 && self.missed == 0 && self.unread_events == 0 && !differs
    }

    /// Logs a warning when traces were stored that the retention of the target is about to delete.
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

/// What the comparison of a target with its source found.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Verification {
    /// What the source holds now.
    pub source: Digest,
    /// What the target holds of the same traces.
    pub target: Digest,
    /// Traces that were not the same and were copied once more: they had changed, or come, since they were copied.
    pub copied_again: u64,
    /// Traces that are not the same.
    pub differing: u64,
    /// The first hundred of those.
    pub first_differing: Vec<TraceId>,
    /// Traces that are in the target alone.
    pub in_target_alone: u64,
}

/// The progress of a migration, an export or an import.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Progress {
    /// What is to be done.
    Started {
        /// Traces of the source with a header that match.
        traces: u64,
        /// What earlier runs had copied of them.
        resumed: Digest,
    },
    /// What was copied so far, by earlier runs that are resumed too.
    Copied(Digest),
    /// Something that can't be read was left out: where it is and what is wrong with it.
    Unreadable(String),
    /// What was compared so far.
    Compared(Digest),
}
