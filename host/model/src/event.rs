use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::decoded_size::entries_bytes;
use super::{EventId, More, encoding, open_struct::open_struct, time};

open_struct! {
    /// Something that happened during an execution.
    #[derive(Debug, Clone, Default, PartialEq)]
    "TraceEvent": pub struct TraceEvent {
        /// Identifies the event within its trace.
        pub event_id: EventId,
        /// When it happened.
        #[serde(with = "time::exact")]
        pub timestamp: DateTime<Utc>,
        /// What happened.
        pub event_type: TraceEventType,
        /// The actor that it happened to.
        pub actor_id: String,
        /// Details: the message, the state, the error, the cost.
        pub data: TraceEventData,
        /// What caused it.
        pub causality: CausalityInfo,
    }
}

impl TraceEvent {
    /// Identifies the event within its trace, and orders it among the others.
    pub fn key(&self) -> EventKey {
        (time::nanos(self.timestamp), self.event_id)
    }

    /// About how many bytes the event takes up in memory or on the wire. Only messages and states make one large.
    pub fn approximate_bytes(&self) -> usize {
        /// The size of a typical event without a message or a state.
        const TYPICAL: usize = 400;
        let data = &self.data;
        let message = data
            .message
            .as_ref()
            .map_or(0, |message| message.serialized_data.len() + message.message_type.len() + message.checksum.len());
        let state = data.state_diff.as_ref();
        let state = state.map_or(0, |state| state.after.len() + state.before.as_ref().map_or(0, Vec::len));
        let names = self.actor_id.len() + data.port.as_ref().map_or(0, String::len);
        let names =
            names + self.event_type.to_actor().map_or(0, str::len) + self.event_type.to_port().map_or(0, str::len);
        let texts = names + data.error.as_ref().map_or(0, String::len) + self.causality.span_id.len();
        let attributes = entries_bytes(data.custom_attributes.iter());
        let more = entries_bytes(self.more_of_parts());
        TYPICAL + message + state + texts + 16 * self.causality.dependency_chain.len() + attributes + more
    }

    /// The fields that the model does not name, of all parts of the event.
    pub(crate) fn more_of_parts(&self) -> impl Iterator<Item = (&String, &serde_json::Value)> {
        let data = &self.data;
        let more = [&self.more, &data.more, &data.performance_metrics.more, &self.causality.more].into_iter();
        let more = more.chain(data.message.as_ref().map(|message| &message.more));
        more.chain(data.state_diff.as_ref().map(|state| &state.more)).flat_map(More::iter)
    }

    /// Whether the event reports an error: an actor failed, or `data.error` is set.
    pub fn is_error(&self) -> bool {
        self.event_type == TraceEventType::ActorFailed || self.data.error.is_some()
    }
}

/// The time of an event in nanoseconds since 1970, and its id.
pub type EventKey = (i64, EventId);

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // The names are Reflow's and explain themselves.
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
    /// A message went from the event's actor and port to those of another actor.
    DataFlow {
        /// The receiving actor.
        to_actor: String,
        /// The receiving port.
        to_port: String,
    },
    NetworkEvent,
}

impl TraceEventType {
    /// The type from its columns in a table: the kind, and for `DataFlow` the receiving actor and port, which `flow` reads.
    pub fn from_columns<E>(
        kind: TraceEventKind,
        flow: impl FnOnce() -> Result<(String, String), E>,
    ) -> Result<Self, E> {
        Ok(match kind {
            TraceEventKind::ActorCreated => Self::ActorCreated,
            TraceEventKind::ActorStarted => Self::ActorStarted,
            TraceEventKind::ActorCompleted => Self::ActorCompleted,
            TraceEventKind::ActorFailed => Self::ActorFailed,
            TraceEventKind::MessageSent => Self::MessageSent,
            TraceEventKind::MessageReceived => Self::MessageReceived,
            TraceEventKind::StateChanged => Self::StateChanged,
            TraceEventKind::PortConnected => Self::PortConnected,
            TraceEventKind::PortDisconnected => Self::PortDisconnected,
            TraceEventKind::DataFlow => {
                let (to_actor, to_port) = flow()?;
                Self::DataFlow { to_actor, to_port }
            }
            TraceEventKind::NetworkEvent => Self::NetworkEvent,
        })
    }

    /// The receiving actor of a `DataFlow`.
    pub fn to_actor(&self) -> Option<&str> {
        match self {
            Self::DataFlow { to_actor, .. } => Some(to_actor),
            _ => None,
        }
    }

    /// The receiving port of a `DataFlow`.
    pub fn to_port(&self) -> Option<&str> {
        match self {
            Self::DataFlow { to_port, .. } => Some(to_port),
            _ => None,
        }
    }

    /// The variant without its fields.
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
        /// The variants of [`TraceEventType`] without their fields, for queries.
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
            format!("`{text}` is not an event type; use one of: {}", names.join(", "))
        })
    }
}

open_struct! {
    /// Details of an event.
    #[derive(Debug, Clone, Default, PartialEq)]
    "TraceEventData": pub struct TraceEventData {
        /// The port of the actor.
        pub port: Option<String>,
        /// The message that was sent or received.
        pub message: Option<MessageSnapshot>,
        /// How the actor's state changed.
        pub state_diff: Option<StateDiff>,
        /// The error message.
        pub error: Option<String>,
        /// The resources that it used.
        pub performance_metrics: PerformanceMetrics,
        /// Free-form attributes.
        #[serde(with = "encoding::attributes")]
        pub custom_attributes: BTreeMap<String, serde_json::Value>,
    }
}

open_struct! {
    /// A message as it was when the event happened.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    "MessageSnapshot": pub struct MessageSnapshot {
        /// The type, as the program names it.
        pub message_type: String,
        /// The size in bytes.
        pub size_bytes: u64,
        /// A checksum of the program's choice; may be empty.
        pub checksum: String,
        /// The message as bytes of the program's choice; may be empty.
        #[serde(default, with = "encoding::bytes")]
        pub serialized_data: Vec<u8>,
    }
}

open_struct! {
    /// How an actor's state changed.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    "StateDiff": pub struct StateDiff {
        /// The state before.
        #[serde(with = "encoding::optional_bytes")]
        pub before: Option<Vec<u8>>,
        /// The state after, or what changed.
        #[serde(with = "encoding::bytes")]
        pub after: Vec<u8>,
        /// What `after` holds.
        pub diff_type: StateDiffType,
    }
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

impl StateDiffType {
    /// Every variant.
    pub const ALL: [Self; 3] = [Self::Full, Self::Incremental, Self::MemoryOnly];

    /// The name, as on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::Incremental => "Incremental",
            Self::MemoryOnly => "MemoryOnly",
        }
    }
}

impl FromStr for StateDiffType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|diff_type| diff_type.name() == text).ok_or_else(|| {
            format!("`{text}` is not a type of state diff; use one of: {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

open_struct! {
    /// The resources that an event used. `None` is "not measured", which is not 0.
    #[derive(Debug, Clone, Default, PartialEq)]
    "PerformanceMetrics": pub struct PerformanceMetrics {
        /// Execution time in nanoseconds.
        #[serde(default, with = "encoding::measurement")]
        pub execution_time_ns: Option<u64>,
        /// Memory in bytes.
        #[serde(default, with = "encoding::measurement")]
        pub memory_usage_bytes: Option<u64>,
        /// Processor use, as a percentage of one core. Must be finite.
        #[serde(default, with = "encoding::measurement")]
        pub cpu_usage_percent: Option<f32>,
        /// Messages waiting in the queue.
        #[serde(default, with = "encoding::measurement")]
        pub queue_depth: Option<u64>,
        /// Messages per second. Must be finite.
        #[serde(default, with = "encoding::measurement")]
        pub throughput_msgs_per_sec: Option<f64>,
    }
}

impl PerformanceMetrics {
    /// Everything was measured, and is 0: what a sender of the first version of the model says of most events.
    pub const ZERO: Self = Self {
        execution_time_ns: Some(0),
        memory_usage_bytes: Some(0),
        cpu_usage_percent: Some(0.0),
        queue_depth: Some(0),
        throughput_msgs_per_sec: Some(0.0),
        more: More::EMPTY,
    };
}

open_struct! {
    /// What caused an event.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    "CausalityInfo": pub struct CausalityInfo {
        /// The event that caused it.
        pub parent_event_id: Option<EventId>,
        /// The first event of the chain.
        pub root_cause_event_id: EventId,
        /// The events between the root cause and this one.
        pub dependency_chain: Vec<EventId>,
        /// The span, for distributed tracing tools.
        pub span_id: String,
    }
}

impl CausalityInfo {
    /// The span id as a UUID, if it is one as usually written (lower case, hyphens), so that stores need 16 bytes for it and
    /// reading restores the very same text.
    pub fn span_uuid(&self) -> Option<Uuid> {
        let is_usual =
            |uuid: &Uuid| uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == self.span_id.as_str();
        Uuid::try_parse(&self.span_id).ok().filter(is_usual)
    }
}
