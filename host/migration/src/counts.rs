//! Counts the contents of a stream for a [`MigrationReport`].

use chrono::{DateTime, Utc};
use reflow_tracing_model::{ExecutionStatus, TraceId};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Digester};
use crate::report::MigrationReport;
use crate::store_stream::StorePart;

/// The counts so far. Part of the journal format, so the names must not change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    #[serde(rename = "content")]
    pub digest: Digest,
    pub unfinished: u64,
    pub expired: u64,
    pub unreadable: u64,
}

impl Counts {
    pub(crate) fn report(self) -> MigrationReport {
        let Self { digest, unfinished, expired, unreadable } = self;
        MigrationReport { copied: digest, unfinished, expired, unreadable, ..MigrationReport::default() }
    }
}

/// Counts the parts of a stream.
pub(crate) struct Counter {
    digester: Digester,
    /// What was counted before; of `counts`, the digest alone stays as it was then.
    before: Digest,
    horizon: Option<DateTime<Utc>>,
    trace_id: Option<TraceId>,
    counts: Counts,
}

impl Counter {
    /// Continues from `before`. Traces that started before `horizon` count as expired.
    pub(crate) fn new(before: Counts, horizon: Option<DateTime<Utc>>) -> Self {
        Self { digester: Digester::default(), before: before.digest, horizon, trace_id: None, counts: before }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts { digest: self.before + self.digester.digest, ..self.counts }
    }

    pub(crate) fn add(&mut self, part: &StorePart) {
        match part {
            StorePart::Header(header) => {
                self.trace_id = Some(header.trace_id);
                self.digester.header(header);
                self.counts.expired += u64::from(self.horizon.is_some_and(|horizon| header.start_time < horizon));
                let unfinished = matches!(header.status, ExecutionStatus::Running | ExecutionStatus::Pending);
                self.counts.unfinished += u64::from(unfinished && header.end_time.is_none());
            }
            StorePart::Headerless(trace_id) => {
                self.trace_id = Some(*trace_id);
                self.digester.headerless(*trace_id);
            }
            StorePart::Events(events) => {
                if let Some(trace_id) = self.trace_id {
                    self.digester.events(trace_id, events);
                }
            }
            StorePart::Unreadable(_) => self.counts.unreadable += 1,
        }
    }
}
