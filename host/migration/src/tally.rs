use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::content::{Content, Measure};
use super::part::Part;
use super::report::MigrationReport;
use reflow_tracing_model::{ExecutionStatus, TraceId};

/// What was read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub content: Content,
    pub unfinished: u64,
    pub expired: u64,
    pub unreadable: u64,
}

impl Seen {
    pub(super) fn report(self) -> MigrationReport {
        let Self { content, unfinished, expired, unreadable } = self;
        MigrationReport { copied: content, unfinished, expired, unreadable, ..MigrationReport::default() }
    }
}

/// Counts the parts of a stream as they come by.
pub(super) struct Tally {
    measure: Measure,
    before: Content,
    horizon: Option<DateTime<Utc>>,
    trace_id: Option<TraceId>,
    seen: Seen,
}

impl Tally {
    /// Goes on from `before`. Traces that started before `horizon` are counted as expired.
    pub(super) fn new(before: Seen, horizon: Option<DateTime<Utc>>) -> Self {
        Self { measure: Measure::default(), before: before.content, horizon, trace_id: None, seen: before }
    }

    pub(super) fn seen(&self) -> Seen {
        Seen { content: self.before + self.measure.content, ..self.seen }
    }

    pub(super) fn add(&mut self, part: &Part) {
        match part {
            Part::Header(header) => {
                self.trace_id = Some(header.trace_id);
                self.measure.header(header);
                self.seen.expired += u64::from(self.horizon.is_some_and(|horizon| header.start_time < horizon));
                let unfinished = matches!(header.status, ExecutionStatus::Running | ExecutionStatus::Pending);
                self.seen.unfinished += u64::from(unfinished && header.end_time.is_none());
            }
            Part::Headerless(trace_id) => {
                self.trace_id = Some(*trace_id);
                self.measure.headerless(*trace_id);
            }
            Part::Events(events) => {
                if let Some(trace_id) = self.trace_id {
                    self.measure.events(trace_id, events);
                }
            }
            Part::Unreadable(_) => self.seen.unreadable += 1,
        }
    }
}
