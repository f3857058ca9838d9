//! The messages, JSON-identical to those of the crate `reflow_tracing_protocol` 0.2.1, and those of the newer protocol, which
//! Reflow's main branch speaks: the client owns the ids of its traces, ends them, and numbers its requests. What only one of
//! the two has is optional here, and absent from the JSON where it is not given.
//!
//! That crate has two families: `TracingRequest` with `TracingResponse`, and the older `TraceMessage` with
//! `TraceResponse`. Their requests can be told apart by name, so one type reads both; where both families have a request,
//! it is answered with a `TracingResponse`.

use serde::{Deserialize, Serialize};

use crate::ingest::{CommitError, SubscriptionFilters};
use reflow_tracing::storage::StorageError;
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TraceQuery};

/// A request of either family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // Most requests are of the largest variant, and they are short-lived.
pub enum TracingRequest {
    /// Starts a trace; answered with [`TracingResponse::TraceStarted`].
    StartTrace {
        /// The trace, chosen by a client of the newer protocol.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace_id: Option<TraceId>,
        /// The flow that runs.
        flow_id: FlowId,
        /// Its version.
        version: FlowVersion,
    },
    /// Stores an event; answered with [`TracingResponse::EventRecorded`] once it is stored.
    RecordEvent {
        /// The trace, as its sender believes; see [`Session`](crate::ingest::Session).
        trace_id: TraceId,
        /// The event.
        event: TraceEvent,
    },
    /// The newer protocol: ends a trace; answered with [`TracingResponse::EventRecorded`] once the end is stored.
    EndTrace {
        /// The trace.
        trace_id: TraceId,
        /// Its final status.
        status: ExecutionStatus,
    },
    /// Asks for one trace; answered with [`TracingResponse::TraceData`].
    GetTrace {
        /// Comes back with the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// The trace.
        trace_id: TraceId,
    },
    /// Asks for traces; answered with [`TracingResponse::QueryResults`].
    QueryTraces {
        /// Comes back with the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// Which traces.
        query: TraceQuery,
    },
    /// Asks for the versions of a flow; answered with [`TracingResponse::FlowVersions`].
    GetFlowVersions {
        /// The flow.
        flow_id: FlowId,
    },
    /// Answered with [`TracingResponse::Pong`].
    Ping,
    /// Asks for [`TracingResponse::EventNotification`]s from now on, in place of those asked for before.
    Subscribe {
        /// Which events. The older family says `filter`.
        #[serde(alias = "filter")]
        filters: SubscriptionFilters,
    },
    /// Ends the notifications.
    Unsubscribe,
    /// The older family: stores a whole trace; answered with [`TraceResponse::TraceStored`].
    StoreTrace {
        /// The trace.
        trace: FlowTrace,
    },
    /// The older family: asks what the store holds; answered with [`TraceResponse::Metrics`].
    GetMetrics,
}

impl TracingRequest {
    /// The name, as on the wire.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::StartTrace { .. } => "StartTrace",
            Self::RecordEvent { .. } => "RecordEvent",
            Self::EndTrace { .. } => "EndTrace",
            Self::GetTrace { .. } => "GetTrace",
            Self::QueryTraces { .. } => "QueryTraces",
            Self::GetFlowVersions { .. } => "GetFlowVersions",
            Self::Ping => "Ping",
            Self::Subscribe { .. } => "Subscribe",
            Self::Unsubscribe => "Unsubscribe",
            Self::StoreTrace { .. } => "StoreTrace",
            Self::GetMetrics => "GetMetrics",
        }
    }
}

/// An answer, or a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TracingResponse {
    /// The trace is started.
    TraceStarted {
        /// Its id.
        trace_id: TraceId,
    },
    /// The result of storing an event.
    EventRecorded {
        /// Whether the event is stored.
        success: bool,
        /// Why it is not stored.
        error: Option<String>,
    },
    /// The trace.
    TraceData {
        /// That of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// `None` when no trace has the id.
        trace: Option<FlowTrace>,
    },
    /// The traces.
    QueryResults {
        /// That of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// Those in the query's window.
        traces: Vec<FlowTrace>,
        /// How many match without the window.
        total_count: u64,
    },
    /// The versions of a flow.
    FlowVersions {
        /// Ascending.
        versions: Vec<FlowVersion>,
    },
    /// The answer to a ping.
    Pong,
    /// An event was stored that the connection subscribed to.
    EventNotification {
        /// The trace that the event belongs to, whatever id its sender gave it.
        trace_id: TraceId,
        /// The event.
        event: TraceEvent,
    },
    /// The request failed, or a subscription ended.
    Error {
        /// What happened.
        message: String,
        /// The kind of error.
        code: ErrorCode,
        /// That of the request. The newer client's type does not have it and ignores it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
    },
}

/// What a client calls a request, to find its answer.
pub type RequestId = serde_json::Value;

/// The kinds of errors. The server uses the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The names say it, and they are Reflow's.
pub enum ErrorCode {
    NotFound,
    InvalidRequest,
    StorageError,
    SerializationError,
    Unauthorized,
    InternalError,
}

/// An answer to a request that only the older family has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TraceResponse {
    /// The trace is stored.
    TraceStored {
        /// Its id.
        trace_id: TraceId,
    },
    /// The request failed.
    Error {
        /// What happened.
        message: String,
    },
    /// What the store holds.
    Metrics {
        /// `traces`, `events`, `bytes`, `oldest`, `newest` of the store, `null` where unknown; and `connections_active`,
        /// `connections_total`, `messages_received`, `messages_sent`, `errors_total`, `traces_stored`, `traces_queried` since the
        /// start, as in Reflow's own server.
        data: serde_json::Value,
    },
}

impl TracingResponse {
    /// The answer to requests without their own one, as in Reflow's server.
    pub(super) const DONE: Self = Self::EventRecorded { success: true, error: None };
}

impl From<StorageError> for TracingResponse {
    fn from(error: StorageError) -> Self {
        let code = match error {
            StorageError::InvalidArgument(_) => ErrorCode::InvalidRequest,
            StorageError::NotFound(_) => ErrorCode::NotFound,
            _ => ErrorCode::StorageError,
        };
        Self::Error { message: error.to_string(), code, request_id: None }
    }
}

/// The outcome of an event.
impl From<Result<(), CommitError>> for TracingResponse {
    fn from(result: Result<(), CommitError>) -> Self {
        Self::EventRecorded { success: result.is_ok(), error: result.err().map(|error| error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use reflow_tracing_protocol as reflow;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use reflow_tracing::TraceEventType;

    /// Checks that each side reads what the other wrote, and writes the same again.
    #[track_caller]
    fn assert_same<Ours, Theirs>(theirs: &Theirs)
    where
        Ours: Serialize + DeserializeOwned,
        Theirs: Serialize + DeserializeOwned,
    {
        let written: Value = serde_json::to_value(theirs).unwrap();
        let ours: Ours = serde_json::from_value(written.clone()).unwrap();
        let ours = serde_json::to_value(&ours).unwrap();
        assert_eq!(ours, written);
        let read_back: Theirs = serde_json::from_value(ours).unwrap();
        assert_eq!(serde_json::to_value(&read_back).unwrap(), written);
    }

    fn their_event() -> reflow::TraceEvent {
        reflow::TraceEvent::data_flow("a".into(), "out".into(), "b".into(), "in".into(), "T".into(), 7)
    }

    fn their_version() -> reflow::FlowVersion {
        reflow::FlowVersion {
            major: 1,
            minor: 2,
            patch: 3,
            git_hash: Some("abc".into()),
            timestamp: chrono::Utc::now(),
        }
    }

    fn their_trace() -> reflow::FlowTrace {
        let trace = FlowTrace { status: ExecutionStatus::Failed { error: "e".into() }, ..Default::default() };
        let mut trace: reflow::FlowTrace = serde_json::from_value(serde_json::to_value(trace).unwrap()).unwrap();
        trace.events.push(their_event());
        trace
    }

    fn their_filters() -> reflow::SubscriptionFilters {
        reflow::SubscriptionFilters {
            flow_ids: Some(vec![reflow::FlowId::new("f")]),
            actor_ids: None,
            event_types: Some(vec![reflow::TraceEventType::MessageSent]),
            status_filter: Some(vec![reflow::ExecutionStatus::Running]),
        }
    }

    #[test]
    fn requests_are_those_of_reflow() {
        use reflow::TracingRequest as Theirs;
        let trace_id = reflow::TraceId::new();
        let flow_id = reflow::FlowId::new("f");
        let query = serde_json::from_value(serde_json::to_value(TraceQuery::default()).unwrap()).unwrap();
        for theirs in [
            Theirs::StartTrace { flow_id: flow_id.clone(), version: their_version() },
            Theirs::RecordEvent { trace_id: trace_id.clone(), event: their_event() },
            Theirs::GetTrace { trace_id },
            Theirs::QueryTraces { query },
            Theirs::GetFlowVersions { flow_id },
            Theirs::Ping,
            Theirs::Subscribe { filters: their_filters() },
            Theirs::Unsubscribe,
        ] {
            assert_same::<TracingRequest, _>(&theirs);
        }
    }

    #[test]
    fn requests_of_the_older_family_are_those_of_reflow() {
        use reflow::TraceMessage as Theirs;
        for theirs in [Theirs::StoreTrace { trace: their_trace() }, Theirs::GetMetrics] {
            assert_same::<TracingRequest, _>(&theirs);
        }
        let subscribe = serde_json::to_value(Theirs::Subscribe { filter: their_filters() }).unwrap();
        let TracingRequest::Subscribe { filters } = serde_json::from_value(subscribe).unwrap() else { panic!() };
        assert_eq!(filters.event_types, Some(vec![TraceEventType::MessageSent]));
    }

    #[test]
    fn answers_are_those_of_reflow() {
        use reflow::TracingResponse as Theirs;
        let trace_id = reflow::TraceId::new();
        for theirs in [
            Theirs::TraceStarted { trace_id: trace_id.clone() },
            Theirs::EventRecorded { success: false, error: Some("e".into()) },
            Theirs::EventRecorded { success: true, error: None },
            Theirs::TraceData { trace: Some(their_trace()) },
            Theirs::TraceData { trace: None },
            Theirs::QueryResults { traces: vec![their_trace()], total_count: 5 },
            Theirs::FlowVersions { versions: vec![their_version()] },
            Theirs::Pong,
            Theirs::EventNotification { trace_id, event: their_event() },
            Theirs::Error { message: "m".into(), code: reflow::ErrorCode::NotFound },
            Theirs::Error { message: "m".into(), code: reflow::ErrorCode::InvalidRequest },
            Theirs::Error { message: "m".into(), code: reflow::ErrorCode::StorageError },
            Theirs::Error { message: "m".into(), code: reflow::ErrorCode::SerializationError },
            Theirs::Error { message: "m".into(), code: reflow::ErrorCode::Unauthorized },
            Theirs::Error { message: "m".into(), code: reflow::ErrorCode::InternalError },
        ] {
            assert_same::<TracingResponse, _>(&theirs);
        }
    }

    #[test]
    fn answers_of_the_older_family_are_those_of_reflow() {
        use reflow::TraceResponse as Theirs;
        for theirs in [
            Theirs::TraceStored { trace_id: reflow::TraceId::new() },
            Theirs::Error { message: "m".into() },
            Theirs::Metrics { data: json!({"traces": 1}) },
        ] {
            assert_same::<TraceResponse, _>(&theirs);
        }
    }
}
