use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, FlowVersion, RECEIVED_TAG, TraceId, TraceMetadata};

use super::clocks::is_plausible;
use super::{INTERRUPTED_TAG, UNKNOWN_FLOW};
use crate::budget::Share;

/// A trace whose events this host receives: what its header has to say.
pub(super) struct OpenTrace {
    pub(super) trace_id: TraceId,
    /// Whether the client chose the id, so that other connections and hosts may send events of the trace too.
    pub(super) is_shared: bool,
    /// When this host saw the trace first.
    received_at: DateTime<Utc>,
    /// Who sent it first.
    sender: TraceMetadata,
    /// Held while the header is read, changed and stored.
    pub(super) storing: tokio::sync::Mutex<()>,
    /// Whether the store has a header.
    is_begun: AtomicBool,
    progress: Mutex<Progress>,
    /// Of the budget of the connection that sent it first.
    _share: Option<Share>,
}

/// The earliest and the latest time.
type Span = (DateTime<Utc>, DateTime<Utc>);

#[derive(Default)]
struct Progress {
    header: Option<FlowTrace>,
    /// The header is in the store as it is here.
    is_stored: bool,
    /// The earliest and the latest time of a stored event.
    span: Option<Span>,
    /// Whether an event has been stored since the header was last compared with the store's.
    is_changed: bool,
    /// The first failure of an actor, or, when the trace has ended, the first one after its end.
    failure: Option<String>,
}

impl OpenTrace {
    /// A trace of which nothing is stored yet.
    pub(super) fn new(trace_id: TraceId, is_shared: bool, sender: TraceMetadata) -> Self {
        Self {
            trace_id,
            is_shared,
            received_at: Utc::now(),
            sender,
            storing: tokio::sync::Mutex::default(),
            is_begun: AtomicBool::new(false),
            progress: Mutex::default(),
            _share: None,
        }
    }

    /// The same, paid for with this share.
    pub(super) fn paid_with(self, share: Option<Share>) -> Self {
        Self { _share: share, ..self }
    }

    /// A trace that the store has.
    pub(super) fn stored(header: FlowTrace) -> Self {
        let received_at = header.received_at().unwrap_or(header.start_time);
        let trace = Self { received_at, ..Self::new(header.trace_id, true, TraceMetadata::default()) };
        trace.set_header(header, true);
        trace.begun(true);
        trace
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // No change is left half done by a panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store has a header.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Acquire)
    }

    pub(super) fn begun(&self, is_begun: bool) {
        self.is_begun.store(is_begun, Ordering::Release);
    }

    /// The flow, once it is known, and how the trace stands.
    pub(super) fn state(&self) -> (Option<FlowId>, ExecutionStatus) {
        let progress = self.progress();
        let header = progress.header.as_ref();
        let status = match (&progress.failure, header) {
            (Some(error), _) => ExecutionStatus::Failed { error: error.clone() },
            (None, Some(header)) => header.status.clone(),
            (None, None) => ExecutionStatus::Running,
        };
        let flow = header.map(|header| &header.flow_id).filter(|flow| flow.as_str() != UNKNOWN_FLOW);
        (flow.cloned(), status)
    }

    /// Notes that an event is stored, which says of a failure or not. Returns whether the header has to change.
    pub(super) fn event_stored(&self, timestamp: DateTime<Utc>, failure: Option<&String>) -> bool {
        let mut progress = self.progress();
        let (earliest, latest) = progress.span.unwrap_or((timestamp, timestamp));
        progress.span = Some((earliest.min(timestamp), latest.max(timestamp)));
        progress.is_changed = true;
        if progress.failure.is_none() {
            progress.failure = failure.cloned();
        }
        !self.is_begun() || progress.header.as_ref().is_none_or(|header| progress.differs(header))
    }

    /// Notes that an actor failed.
    pub(super) fn failed(&self, failure: &str) {
        self.progress().failure.get_or_insert_with(|| failure.to_owned());
    }

    /// Whether an event has been stored since this was last asked.
    pub(super) fn take_changed(&self) -> bool {
        std::mem::take(&mut self.progress().is_changed)
    }

    /// Whether the flow is known.
    pub(super) fn is_started(&self) -> bool {
        self.state().0.is_some()
    }

    /// Takes over the header; `is_stored` says whether the store has it. If not, it is stored with the next event, or when the
    /// connections end.
    pub(super) fn set_header(&self, header: FlowTrace, is_stored: bool) {
        let mut progress = self.progress();
        if header.end_time.is_some() && progress.header.as_ref().is_none_or(|known| known.end_time.is_none()) {
            // The end accounts for it.
            progress.failure = None;
        }
        progress.header = Some(header);
        progress.is_stored = is_stored;
    }

    /// Forgets a header that the store refused.
    pub(super) fn forget_header(&self) {
        self.progress().header = None;
    }

    /// Whether the store has the header as it is here.
    pub(super) fn is_stored(&self) -> bool {
        self.progress().is_stored
    }

    /// The header, once it is known.
    pub(super) fn header(&self) -> Option<FlowTrace> {
        self.progress().header.clone()
    }

    /// Whether the store has the end of the trace.
    pub(super) fn has_ended(&self) -> bool {
        let progress = self.progress();
        progress.is_stored && progress.header.as_ref().is_some_and(|header| header.end_time.is_some())
    }

    /// Whether there is anything of the trace: an event or a header.
    pub(super) fn is_empty(&self) -> bool {
        let progress = self.progress();
        progress.header.is_none() && progress.span.is_none()
    }

    /// The header as far as it is known, for a running trace.
    pub(super) fn running(&self, flow_id: FlowId, version: FlowVersion) -> FlowTrace {
        let span = self.progress().span;
        let header = FlowTrace {
            trace_id: self.trace_id,
            flow_id,
            version,
            start_time: span.map_or(self.received_at, |(earliest, _)| earliest.min(self.received_at)),
            status: ExecutionStatus::Running,
            metadata: self.sender.clone(),
            ..FlowTrace::default()
        };
        self.checked(header, span)
    }

    /// The header when there is none so far: the flow is not known yet.
    pub(super) fn provisional(&self) -> FlowTrace {
        let progress = self.progress();
        if let Some(header) = &progress.header {
            return header.clone();
        }
        let span = progress.span;
        drop(progress);
        let header = self.running(FlowId::new(UNKNOWN_FLOW), FlowVersion::default());
        FlowTrace { start_time: span.map_or(header.start_time, |(earliest, _)| earliest), ..header }
    }

    /// The header, changed so that the stored events lie within the trace and its failure shows; `None` when it is right.
    pub(super) fn adjusted(&self) -> Option<FlowTrace> {
        let progress = self.progress();
        let header = progress.header.as_ref().filter(|header| progress.differs(header))?;
        let mut adjusted = header.clone();
        progress.extend(&mut adjusted);
        if let (Some(error), true) = (&progress.failure, progress.fails_late(header)) {
            adjusted.status = ExecutionStatus::Failed { error: error.clone() };
        }
        Some(self.checked(adjusted, progress.span))
    }

    /// Ends `header` with `status`, no earlier than the last event.
    pub(super) fn end(&self, header: FlowTrace, status: ExecutionStatus) -> FlowTrace {
        let progress = self.progress();
        let mut header = FlowTrace { end_time: Some(header.start_time), status, ..header };
        if let Some((earliest, latest)) = progress.span {
            header.end_time = Some(latest.max(earliest.min(header.start_time)));
        }
        progress.extend(&mut header);
        self.checked(header, progress.span)
    }

    /// The header with an end: the one that it has, or completed, or failed if an actor did.
    pub(super) fn ended(&self) -> FlowTrace {
        if let Some(header) = self.header().filter(|header| header.end_time.is_some()) {
            return header;
        }
        let status = match &self.progress().failure {
            Some(error) => ExecutionStatus::Failed { error: error.clone() },
            None => ExecutionStatus::Completed,
        };
        self.end(self.provisional(), status)
    }

    /// The header with an end: the one that it has, or cancelled, because nobody sends the trace any more. If an actor failed and
    /// only this connection could say how the trace ends, it is failed.
    pub(super) fn interrupted(&self, reason: &str) -> FlowTrace {
        if let Some(header) = self.header().filter(|header| header.end_time.is_some()) {
            return header;
        }
        let failure = self.progress().failure.clone().filter(|_| !self.is_shared);
        let status = failure.map_or(ExecutionStatus::Cancelled, |error| ExecutionStatus::Failed { error });
        let mut header = self.end(self.provisional(), status);
        header.metadata.tags.insert(INTERRUPTED_TAG.into(), reason.into());
        header
    }

    /// Notes when the trace was received if the times of its events can't be right, because they must not decide when it is
    /// deleted. A trace may take longer than a day.
    fn checked(&self, mut header: FlowTrace, span: Option<Span>) -> FlowTrace {
        let now = Utc::now();
        let is_plausible = |(earliest, latest)| {
            is_plausible(earliest, earliest.clamp(self.received_at, now.max(self.received_at)))
                && is_plausible(latest, latest.min(now))
        };
        if !span.is_none_or(is_plausible) {
            let received_at = || self.received_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            header.metadata.tags.entry(RECEIVED_TAG.into()).or_insert_with(received_at);
        }
        header
    }
}

impl Progress {
    /// Whether an event lies outside of the trace, or a failure doesn't show.
    fn differs(&self, header: &FlowTrace) -> bool {
        let lies_outside = self.span.is_some_and(|(earliest, latest)| {
            earliest < header.start_time || header.end_time.is_some_and(|end| latest > end)
        });
        !self.is_stored || lies_outside || (self.failure.is_some() && self.fails_late(header))
    }

    /// Whether a failure that comes now has to show.
    fn fails_late(&self, header: &FlowTrace) -> bool {
        header.end_time.is_some() && header.status == ExecutionStatus::Completed
    }

    fn extend(&self, header: &mut FlowTrace) {
        if let Some((earliest, latest)) = self.span {
            header.start_time = header.start_time.min(earliest);
            header.end_time = header.end_time.map(|end| end.max(latest));
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn received(days_ago: i64) -> OpenTrace {
        let trace = OpenTrace::new(TraceId::new(), true, TraceMetadata::default());
        trace.begun(true);
        OpenTrace { received_at: Utc::now() - TimeDelta::days(days_ago), ..trace }
    }

    #[test]
    fn a_trace_whose_events_can_not_be_from_their_times_says_when_it_was_received() {
        for time in [DateTime::UNIX_EPOCH, Utc::now() + TimeDelta::days(2), Utc::now() - TimeDelta::days(2)] {
            let trace = received(0);
            trace.event_stored(time, None);
            let header = trace.provisional();
            assert_eq!(header.start_time, time);
            let received_at = header.received_at().unwrap();
            assert!((received_at - trace.received_at).abs() < TimeDelta::seconds(1), "{received_at}");
            assert_eq!(trace.ended().received_at(), Some(received_at));
        }
    }

    #[test]
    fn a_trace_may_take_days() {
        let trace = received(30);
        let [first, last] = [trace.received_at, Utc::now()];
        for time in [first, last] {
            trace.event_stored(time, None);
        }
        let header = trace.ended();
        assert_eq!((header.start_time, header.end_time, header.received_at()), (first, Some(last), None));
    }

    #[test]
    fn an_ended_trace_follows_late_events() {
        let trace = received(0);
        trace.event_stored(trace.received_at, Some(&"known before the end".into()));
        let completed = trace.end(trace.provisional(), ExecutionStatus::Completed);
        trace.set_header(completed.clone(), true);
        assert_eq!(trace.adjusted(), None);
        let [earlier, later] = [-1, 1].map(|seconds| trace.received_at + TimeDelta::seconds(seconds));
        assert!(trace.event_stored(later, None));
        assert!(trace.event_stored(earlier, Some(&"disk".into())));
        let status = ExecutionStatus::Failed { error: "disk".into() };
        let adjusted = FlowTrace { start_time: earlier, end_time: Some(later), status, ..completed };
        assert_eq!(trace.adjusted(), Some(adjusted.clone()));
        trace.set_header(adjusted, true);
        assert!(!trace.event_stored(trace.received_at, Some(&"later".into())), "the first failure is the status");
    }

    #[test]
    fn a_cancelled_trace_stays_cancelled() {
        let trace = received(0);
        trace.event_stored(trace.received_at, None);
        trace.set_header(trace.end(trace.provisional(), ExecutionStatus::Cancelled), true);
        assert!(!trace.event_stored(trace.received_at, Some(&"disk".into())));
    }
}
