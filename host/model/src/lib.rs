//! The data model: traces, events and queries, whose JSON is Reflow's wire format.
//!
//! The types mirror those of the crate `reflow_tracing_protocol` 0.2.1 and are JSON-identical to them: enums are
//! externally tagged, newtypes are bare, `None` is `null`, times are RFC 3339 with as many fraction digits as they need
//! (0, 3, 6 or 9). The differences: sizes are `u64` on every platform, maps are ordered, [`TraceQuery`] has more fields,
//! metrics may be unmeasured as in Reflow's newer protocol, and fields that the model does not name are kept in [`More`].

mod additions;
mod decoded_size;
mod encoding;
mod event;
mod exact;
mod id;
mod json_length;
mod more;
mod open_struct;
mod predicate;
mod query;
pub mod time;
mod trace;
mod validate;

pub use additions::Additions;
pub use decoded_size::max_decoded_bytes;
pub use event::EventKey;
pub use event::{
    CausalityInfo, MessageSnapshot, PerformanceMetrics, StateDiff, StateDiffType, TraceEvent, TraceEventData,
    TraceEventKind, TraceEventType,
};
pub use exact::{from_json, from_json_with_event};
pub use id::{EventId, ExecutionId, FlowId, TraceId};
pub use json_length::json_bytes;
pub use more::More;
pub use predicate::Predicate;
pub use query::{Position, SortOrder, TracePage, TraceQuery, Window, clamped_nanos, status_matches};
pub use trace::{ExecutionStatus, FlowTrace, FlowVersion, RECEIVED_TAG, TraceMetadata};
pub use validate::{InvalidValue, MAX_NAME_BYTES};

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
