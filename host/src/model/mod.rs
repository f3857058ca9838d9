//! What a trace is: pure data whose JSON is Reflow's wire format.
//!
//! The types mirror those of the crate `reflow_tracing_protocol` 0.2.1 and are JSON-identical to them: enums are
//! externally tagged, newtypes are bare, `None` is `null`, times are RFC 3339 with as many fraction digits as they need
//! (0, 3, 6 or 9). What differs: sizes are `u64` on every platform, maps are ordered, and [`TraceQuery`] has more fields.

pub(crate) mod encoding;
mod event;
mod id;
mod json_length;
mod query;
pub(crate) mod time;
mod trace;
mod validate;

pub(crate) use event::EventKey;
pub use event::{
    CausalityInfo, MessageSnapshot, PerformanceMetrics, StateDiff, StateDiffType, TraceEvent, TraceEventData,
    TraceEventKind, TraceEventType,
};
pub use id::{EventId, ExecutionId, FlowId, TraceId};
pub(crate) use json_length::json_bytes;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "clickhouse"))]
pub(crate) use query::clamped_nanos;
#[cfg(feature = "server")]
pub(crate) use query::status_matches;
pub(crate) use query::{Position, Window};
pub use query::{SortOrder, TracePage, TraceQuery};
pub use trace::{ExecutionStatus, FlowTrace, FlowVersion, TraceMetadata};
pub use validate::{InvalidValue, MAX_NAME_BYTES};
