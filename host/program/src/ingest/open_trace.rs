use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, TraceId};

/// A trace that a connection is sending: what has to be known to finish it when the connection ends.
pub(super) struct OpenTrace {
    pub(super) trace_id: TraceId,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    header: Option<FlowTrace>,
    /// The header is in the store as it is here.
    header_stored: bool,
    /// The earliest and the latest time of a stored event.
    span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The first failure of an actor.
    failure: Option<String>,
}

impl OpenTrace {
    pub(super) fn new(trace_id: TraceId) -> Self {
        Self { trace_id, progress: Mutex::default() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // No change is left half done by a panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flow, once it is known, and how the trace stands.
    pub(super) fn state(&self) -> (Option<FlowId>, ExecutionStatus) {
        let progress = self.progress();
        let status = match &progress.failure {
            Some(error) => ExecutionStatus::Failed { error: error.clone() },
            None => ExecutionStatus::Running,
        };
        (progress.header.as_ref().map(|header| header.flow_id.clone()), status)
    }

    /// Notes that an event is stored, which says of a failure or not.
    pub(super) fn stored(&self, timestamp: DateTime<Utc>, failure: Option<&String>) {
        let mut progress = self.progress();
        let (earliest, latest) = progress.span.unwrap_or((timestamp, timestamp));
        progress.span = Some((earliest.min(timestamp), latest.max(timestamp)));
        if progress.failure.is_none() {
            progress.failure = failure.cloned();
        }
    }

    /// Notes that an actor failed.
    pub(super) fn failed(&self, failure: &str) {
        self.progress().failure.get_or_insert_with(|| failure.to_owned());
    }

    /// The time of the earliest event that is stored.
    pub(super) fn earliest(&self) -> Option<DateTime<Utc>> {
        self.progress().span.map(|(earliest, _)| earliest)
    }

    /// Whether the store has the header.
    pub(super) fn is_started(&self) -> bool {
        self.progress().header_stored
    }

    /// Takes over the header; `stored` says whether the store has it.
    pub(super) fn set_header(&self, header: FlowTrace, stored: bool) {
        let mut progress = self.progress();
        progress.header = Some(header);
        progress.header_stored = stored;
    }

    /// The header, once it is known.
    pub(super) fn header(&self) -> Option<FlowTrace> {
        self.progress().header.clone()
    }

    /// Whether the store has the end of the trace.
    pub(super) fn has_ended(&self) -> bool {
        let progress = self.progress();
        progress.header_stored && progress.header.as_ref().is_some_and(|header| header.end_time.is_some())
    }

    /// Whether there is anything of the trace: an event or a header.
    pub(super) fn is_empty(&self) -> bool {
        let progress = self.progress();
        progress.header.is_none() && progress.span.is_none()
    }

    /// Ends `header` with `status`, no earlier than the last event and no later than the first one started.
    pub(super) fn end(&self, header: FlowTrace, status: ExecutionStatus) -> FlowTrace {
        let (earliest, latest) = self.progress().span.unwrap_or((header.start_time, header.start_time));
        let start_time = header.start_time.min(earliest);
        FlowTrace { start_time, end_time: Some(latest.max(start_time)), status, ..header }
    }

    /// The header of an ended trace whose events turned out to lie outside of it, changed so that they don't.
    pub(super) fn extended(&self) -> Option<FlowTrace> {
        let progress = self.progress();
        let (header, (earliest, latest)) = (progress.header.as_ref()?, progress.span?);
        let end_time = header.end_time?;
        (earliest < header.start_time || latest > end_time).then(|| FlowTrace {
            start_time: header.start_time.min(earliest),
            end_time: Some(end_time.max(latest)),
            ..header.clone()
        })
    }

    /// The header that ends the trace, made by `unknown` (given the earliest event's time) when there is none so far.
    ///
    /// `None` when there is nothing to end: no header and no event, or a header that has an end already.
    pub(super) fn ended(&self, unknown: impl FnOnce(DateTime<Utc>) -> FlowTrace) -> Option<FlowTrace> {
        let progress = self.progress();
        let mut header = match (&progress.header, progress.span) {
            (Some(header), _) if header.end_time.is_some() && progress.header_stored => return None,
            (Some(header), _) => header.clone(),
            (None, Some((earliest, _))) => unknown(earliest),
            (None, None) => return None,
        };
        let latest = progress.span.map_or(header.start_time, |(_, latest)| latest);
        header.end_time = Some(latest.max(header.start_time));
        header.status = match &progress.failure {
            Some(error) => ExecutionStatus::Failed { error: error.clone() },
            None => ExecutionStatus::Completed,
        };
        Some(header)
    }
}
