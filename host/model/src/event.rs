use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{EventId, encoding, time};

/// Something that happened during an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// Identifies the event within its trace.
    pub event_id: EventId,
    /// When it happened.
    #[serde(with = "time::exact")]
    pub timestamp: DateTime<Utc>,
    /// What happened.
    pub event_type: TraceEventType,
    /// The actor that it happened to.
    pub actor_id: String,
    /// What is known of it.
    pub data: TraceEventData,
    /// What led to it.
    pub causality: CausalityInfo,
}

impl TraceEvent {
    /// What tells the event from the others of its trace, and where it stands among them.
    pub fn key(&self) -> EventKey {
        (time::nanos(self.timestamp), self.event_id)
    }

    /// About how many bytes it takes up in memory or on a wire: messages and states are what can make it large.
    pub fn approximate_bytes(&self) -> usize {
        /// Of a usual event without either.
        const USUAL: usize = 400;
        let data = &self.data;
        let message = data.message.as_ref().map_or(0, |message| message.serialized_data.len());
        let state = data.state_diff.as_ref();
        let state = state.map_or(0, |state| state.after.len() + state.before.as_ref().map_or(0, Vec::len));
        let texts = data.error.as_ref().map_or(0, String::len) + self.causality.span_id.len();
        let attributes = data.custom_attributes.values().map(json_bytes).sum::<usize>();
        USUAL + message + state + texts + 16 * self.causality.dependency_chain.len() + attributes
    }

    /// Whether it tells of something that went wrong: an actor failed, or the event carries an error.
    pub fn is_error(&self) -> bool {
        self.event_type == TraceEventType::ActorFailed || self.data.error.is_some()
    }
}

fn json_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 16,
        Value::String(text) => 16 + text.len(),
        Value::Array(values) => 16 + values.iter().map(json_bytes).sum::<usize>(),
        Value::Object(values) => 16 + values.iter().map(|(name, value)| name.len() + json_bytes(value)).sum::<usize>(),
    }
}

/// The time of an event, in nanoseconds since the epoch, and its id.
pub type EventKey = (i64, EventId);

/// What an event tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // The names say it, and they are Reflow's.
pub enum TraceEventType {
    #[default]
    ActorCreated,
    ActorStarted,
    ActorCompleted,
    ActorFailed,
    MessageSent,
    MessageReceived,
    StateChanged,
    PortConnected,
    PortDisconnected,
    /// A message went from the event's actor and port to another's.
    DataFlow {
        /// The receiving actor.
        to_actor: String,
        /// The receiving port.
        to_port: String,
    },
    NetworkEvent,
}

impl TraceEventType {
    /// The case without its contents.
    pub fn kind(&self) -> TraceEventKind {
        match self {
            Self::ActorCreated => TraceEventKind::ActorCreated,
            Self::ActorStarted => TraceEventKind::ActorStarted,
            Self::ActorCompleted => TraceEventKind::ActorCompleted,
            Self::ActorFailed => TraceEventKind::ActorFailed,
            Self::MessageSent => TraceEventKind::MessageSent,
            Self::MessageReceived => TraceEventKind::MessageReceived,
            Self::StateChanged => TraceEventKind::StateChanged,
            Self::PortConnected => TraceEventKind::PortConnected,
            Self::PortDisconnected => TraceEventKind::PortDisconnected,
            Self::DataFlow { .. } => TraceEventKind::DataFlow,
            Self::NetworkEvent => TraceEventKind::NetworkEvent,
        }
    }
}

macro_rules! event_kinds {
    ($($kind:ident),* $(,)?) => {
        /// The cases of [`TraceEventType`] without their contents: what a query asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum TraceEventKind { $($kind),* }

        impl TraceEventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The name, as on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),* }
            }
        }
    };
}

event_kinds!(
    ActorCreated,
    ActorStarted,
    ActorCompleted,
    ActorFailed,
    MessageSent,
    MessageReceived,
    StateChanged,
    PortConnected,
    PortDisconnected,
    DataFlow,
    NetworkEvent,
);

impl fmt::Display for TraceEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for TraceEventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("`{text}` is no event type; there are {}", names.join(", "))
        })
    }
}

/// What is known of an event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceEventData {
    /// The port of the actor.
    pub port: Option<String>,
    /// The message that was sent or received.
    pub message: Option<MessageSnapshot>,
    /// How the actor's state changed.
    pub state_diff: Option<StateDiff>,
    /// What went wrong.
    pub error: Option<String>,
    /// What it cost.
    pub performance_metrics: PerformanceMetrics,
    /// Anything else.
    #[serde(with = "encoding::attributes")]
    pub custom_attributes: BTreeMap<String, serde_json::Value>,
}

/// A message as it was when the event happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSnapshot {
    /// The type, as the program names it.
    pub message_type: String,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// A checksum of the program's choice; may be empty.
    pub checksum: String,
    /// The message as bytes of the program's choice; may be empty.
    #[serde(with = "encoding::bytes")]
    pub serialized_data: Vec<u8>,
}

/// How an actor's state changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDiff {
    /// The state before.
    #[serde(with = "encoding::optional_bytes")]
    pub before: Option<Vec<u8>>,
    /// The state after, or what changed.
    #[serde(with = "encoding::bytes")]
    pub after: Vec<u8>,
    /// What `after` holds.
    pub diff_type: StateDiffType,
}

/// What [`StateDiff::after`] holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StateDiffType {
    /// The whole state.
    #[default]
    Full,
    /// The changes.
    Incremental,
    /// State that is not persisted.
    MemoryOnly,
}

/// What an event cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PerformanceMetrics {
    /// Nanoseconds.
    pub execution_time_ns: u64,
    /// Bytes.
    pub memory_usage_bytes: u64,
    /// Per cent of one processor. Finite.
    pub cpu_usage_percent: f32,
    /// Messages that waited.
    pub queue_depth: u64,
    /// Messages a second. Finite.
    pub throughput_msgs_per_sec: f64,
}

/// What led to an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CausalityInfo {
    /// The event that caused it.
    pub parent_event_id: Option<EventId>,
    /// The event that everything began with.
    pub root_cause_event_id: EventId,
    /// The events in between.
    pub dependency_chain: Vec<EventId>,
    /// The span, for tools of distributed tracing.
    pub span_id: String,
}
