//! What is derived, in types that serialize as JSON.

use chrono::{DateTime, Utc};
use reflow_tracing_model::EventId;
use serde::Serialize;

use crate::{Name, Quantiles};

/// What the actors of a trace, or of a window into one, did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order of their messages; those without a message, of their ends.
    pub activations: Vec<Activation>,
    /// In the order in which they appear in the trace.
    pub actors: Vec<Actor>,
    /// By the names of their ends.
    pub edges: Vec<Edge>,
    /// The activation that ended last, and before it those whose messages led to it, the first one first: indices into
    /// [`activations`](Self::activations).
    pub critical_path: Vec<usize>,
    /// The first failure in causal order: the earliest among those that no failed activation led to.
    pub first_failure: Option<Failure>,
    /// All failures, the same text of the same actor in one group; the group that began first comes first.
    pub failures: Vec<FailureGroup>,
    /// How many events the limit of [`Spans`](crate::Spans) left out. If this is not 0, all else is of a part of the events.
    pub left_out: u64,
}

/// One message, and what an actor did with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activation {
    /// The actor.
    pub actor: Name,
    /// The message; `None` of a source, and where the message came before the window.
    pub message: Option<Message>,
    /// When the actor began to execute, if that was measured.
    pub started: Option<DateTime<Utc>>,
    /// When it ended; `None` while it is open.
    pub ended: Option<DateTime<Utc>>,
    /// The `ActorCompleted` or `ActorFailed` that ended it.
    pub end_event: Option<EventId>,
    /// From its message to its end, in nanoseconds.
    pub latency_ns: Option<u64>,
    /// How long the actor executed, in nanoseconds, if that was measured.
    pub execution_ns: Option<u64>,
    /// From its message to the begin of the execution, in nanoseconds, if the execution was measured.
    pub waiting_ns: Option<u64>,
    /// Whether an event of it reports an error.
    pub failed: bool,
    /// The text of the first error, if it has one.
    pub error: Option<Name>,
    /// The activation that produced its message: an index into [`Report::activations`].
    pub produced_by: Option<usize>,
}

/// A message that reached an actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The `DataFlow` that reports it.
    pub event_id: EventId,
    /// When it was sent.
    pub time: DateTime<Utc>,
    /// The sending actor.
    pub from_actor: Name,
    /// The port that it was sent from, if that is known.
    pub from_port: Option<Name>,
    /// The port that it was sent to.
    pub to_port: Name,
    /// Its size, in bytes; 0 if the event holds no message.
    pub bytes: u64,
}

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// How many.
    pub messages: u64,
    /// The sum of their sizes, in bytes.
    pub bytes: u64,
}

/// Statistics of an actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The actor.
    pub actor: Name,
    /// The time of its first event, or of the first message to it.
    pub first_seen: DateTime<Utc>,
    /// Activations that ended.
    pub ended: u64,
    /// Activations that are open.
    pub open: u64,
    /// Activations that failed, of both.
    pub failed: u64,
    /// Messages to it.
    pub received: Traffic,
    /// Messages from it.
    pub sent: Traffic,
    /// From a message to the end of its activation.
    pub latency: Option<Quantiles>,
    /// Execution, where it was measured.
    pub execution: Option<Quantiles>,
    /// From a message to the begin of the execution, where that was measured.
    pub waiting: Option<Quantiles>,
}

/// Statistics of the messages from one port to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The sending actor.
    pub from_actor: Name,
    /// Its port, if that is known.
    pub from_port: Option<Name>,
    /// The receiving actor.
    pub to_actor: Name,
    /// Its port.
    pub to_port: Name,
    /// Its messages.
    pub traffic: Traffic,
    /// Messages whose activation is open.
    pub open: u64,
    /// Messages whose activation failed.
    pub failed: u64,
    /// From a message to the end of its activation.
    pub latency: Option<Quantiles>,
    /// From a message to the begin of the execution, where that was measured.
    pub waiting: Option<Quantiles>,
}

/// An event that reports an error, and how it came to that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The event.
    pub event_id: EventId,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The actor.
    pub actor: Name,
    /// The text of the error; longer ones are cut.
    pub error: Option<Name>,
    /// The activations that led to it, the first one first, and the failed one last: indices into [`Report::activations`].
    /// Empty if it belongs to no activation.
    pub path: Vec<usize>,
}

/// Events of one actor that report the same error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureGroup {
    /// The actor.
    pub actor: Name,
    /// The text of the error, if it has one.
    pub error: Option<Name>,
    /// How many events report it.
    pub count: u64,
    /// When it first happened.
    pub first: DateTime<Utc>,
    /// When it last happened.
    pub last: DateTime<Utc>,
}
