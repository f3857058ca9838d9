//! What a sender sent at once: the events that one entry of the queue carries.

use std::sync::Arc;

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use reflow_tracing::storage::StorageError;
use reflow_tracing::{TraceEvent, TraceEventType, TraceId};
use reflow_tracing_storage::write_queue::{Entry, Size};

use super::CommitError;
use super::open_trace::OpenTrace;

/// What a trace says of a failure is at most so long, in bytes. The event has all of it.
const MAX_FAILURE_BYTES: usize = 8 * 1024;

/// An event as its sender sent it.
pub struct Received {
    /// The trace that it names.
    pub trace_id: TraceId,
    /// The event.
    pub event: TraceEvent,
    /// What it was parsed from.
    pub original: Original,
    /// About how much memory both take.
    pub bytes: usize,
}

/// What an event was parsed from. A store takes its events away; the few that are needed afterwards (one of their batch was
/// refused, or somebody began to watch meanwhile) are parsed again, so that none is copied in case of that.
pub struct Original {
    /// The message.
    pub message: Bytes,
    /// How it is parsed.
    pub parse: fn(&[u8]) -> Option<TraceEvent>,
}

impl Original {
    /// The event once more.
    pub(super) fn event(&self) -> TraceEvent {
        (self.parse)(&self.message).expect("the same bytes were parsed before")
    }
}

impl Received {
    /// An event and the message that it was parsed from.
    pub fn parsed(trace_id: TraceId, event: TraceEvent, original: Original) -> Self {
        let bytes = original.message.len() + event.approximate_bytes();
        Self { trace_id, event, original, bytes }
    }

    /// An event that came in no message.
    pub fn new(trace_id: TraceId, event: TraceEvent) -> Self {
        let message = serde_json::to_vec(&event).expect("an event is plain data whose maps have text keys");
        let original = Original { message: message.into(), parse: |json| serde_json::from_slice(json).ok() };
        Self::parsed(trace_id, event, original)
    }
}

/// What has to be known of an event once it is stored.
pub(super) struct Origin {
    pub trace: Arc<OpenTrace>,
    pub original: Original,
    pub timestamp: DateTime<Utc>,
    /// Why it says that an actor failed.
    failure: Option<String>,
}

impl Origin {
    /// Notes in the event's trace what became of it. Returns whether the header of the trace has to change.
    pub(super) fn note(&self, outcome: Result<(), &StorageError>) -> bool {
        match outcome {
            Ok(()) => self.trace.event_stored(self.timestamp, self.failure.as_ref()),
            // It happened, whether the store has it or not.
            Err(error) if !matches!(error, StorageError::InvalidArgument(_)) => {
                if let Some(failure) = &self.failure {
                    self.trace.failed(failure);
                }
                false
            }
            Err(_) => false,
        }
    }
}

/// Events of one sender, in their order.
#[derive(Default)]
pub struct Chunk {
    /// What is stored.
    pub(super) events: Vec<(TraceId, TraceEvent)>,
    /// Of each event.
    pub(super) origins: Vec<Origin>,
    /// Each trace once, unless a sender jumps back and forth between them.
    traces: Vec<TraceId>,
    bytes: usize,
}

impl Chunk {
    pub(super) fn with_capacity(events: usize) -> Self {
        let (events, origins) = (Vec::with_capacity(events), Vec::with_capacity(events));
        Self { events, origins, ..Self::default() }
    }

    pub(super) fn push(&mut self, trace: Arc<OpenTrace>, Received { event, original, bytes, .. }: Received) {
        let trace_id = trace.trace_id;
        let failed = event.event_type == TraceEventType::ActorFailed;
        let failure = failed.then(|| match &event.data.error {
            Some(error) => shortened(error),
            None => format!("actor {} failed", event.actor_id),
        });
        self.bytes += bytes;
        if self.traces.last() != Some(&trace_id) {
            self.traces.push(trace_id);
        }
        self.origins.push(Origin { trace, original, timestamp: event.timestamp, failure });
        self.events.push((trace_id, event));
    }
}

fn shortened(failure: &str) -> String {
    if failure.len() <= MAX_FAILURE_BYTES {
        return failure.to_owned();
    }
    format!("{}..", &failure[..failure.floor_char_boundary(MAX_FAILURE_BYTES)])
}

impl Entry for Chunk {
    type Answer = Outcomes;

    fn size(&self) -> Size {
        Size::new(self.events.len(), self.bytes)
    }

    fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.traces.iter().copied()
    }
}

/// What became of the events of a chunk.
pub enum Outcomes {
    /// All are stored.
    Stored,
    /// Of each, in order.
    Each(Vec<Result<(), CommitError>>),
}
