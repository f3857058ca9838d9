use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::live::LiveEvent;
use super::{CommitError, Ingest};
use reflow_tracing::{ExecutionStatus, FlowTrace, TraceEvent, TraceEventType, TraceId};

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
    pub(super) fn new() -> Self {
        Self { trace_id: TraceId::new(), progress: Mutex::default() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // No change is left half done by a panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an event as one of this trace.
    pub(super) async fn record(&self, ingest: &Ingest, event: TraceEvent) -> Result<(), CommitError> {
        event.validate().map_err(|error| CommitError::new(error.into()))?;
        let timestamp = event.timestamp;
        let (flow_id, status) = {
            let mut progress = self.progress();
            if event.event_type == TraceEventType::ActorFailed && progress.failure.is_none() {
                let error = event.data.error.clone().unwrap_or_else(|| format!("actor {} failed", event.actor_id));
                progress.failure = Some(error);
            }
            let status = match &progress.failure {
                Some(error) => ExecutionStatus::Failed { error: error.clone() },
                None => ExecutionStatus::Running,
            };
            (progress.header.as_ref().map(|header| header.flow_id.clone()), status)
        };
        ingest.committer().store(LiveEvent { trace_id: self.trace_id, flow_id, status, event }).await?;
        let mut progress = self.progress();
        let (earliest, latest) = progress.span.unwrap_or((timestamp, timestamp));
        progress.span = Some((earliest.min(timestamp), latest.max(timestamp)));
        Ok(())
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
