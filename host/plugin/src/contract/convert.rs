//! Conversions between the model and the types of the contract.

use std::time::Duration;

use reflow_tracing_model::{
    ExecutionStatus, FlowTrace, SortOrder, TraceEvent, TraceId, TraceQuery, clamped_nanos, time,
};
use reflow_tracing_storage::StorageError;
use uuid::Uuid;

use crate::contract::batch::Row;
use crate::contract::bindings::reflow::storage::types;
use crate::contract::body;

pub(crate) fn uuid(uuid: Uuid) -> types::Uuid {
    let (high, low) = uuid.as_u64_pair();
    types::Uuid { high, low }
}

fn status(status: &ExecutionStatus) -> types::Status {
    match status {
        ExecutionStatus::Pending => types::Status::Pending,
        ExecutionStatus::Running => types::Status::Running,
        ExecutionStatus::Completed => types::Status::Completed,
        ExecutionStatus::Failed { .. } => types::Status::Failed,
        ExecutionStatus::Cancelled => types::Status::Cancelled,
    }
}

/// Splits a trace into its header and its events.
pub(crate) fn header(mut trace: FlowTrace) -> (types::Trace, Vec<(TraceId, TraceEvent)>) {
    let trace_id = trace.trace_id;
    let events = std::mem::take(&mut trace.events).into_iter().map(|event| (trace_id, event)).collect();
    let header = types::Trace {
        body: body::encode(&trace),
        trace_id: uuid(trace_id.0),
        execution_id: uuid(trace.execution_id.0),
        start_time: time::nanos(trace.start_time),
        end_time: trace.end_time.map(time::nanos),
        status: status(&trace.status),
        error: trace.status.error().map(str::to_owned),
        flow_id: trace.flow_id.0,
        tags: trace.metadata.tags.into_iter().collect(),
    };
    (header, events)
}

pub(crate) fn event(row: &Row) -> types::Event {
    let event = &row.event;
    types::Event {
        trace_id: uuid(row.trace_id.0),
        event_id: uuid(event.event_id.0),
        timestamp: time::nanos(event.timestamp),
        event_type: event.event_type.kind().name().into(),
        actor_id: event.actor_id.clone(),
        error: event.data.error.clone(),
        body: body::encode(event),
    }
}

/// The predicates and the order of a query.
pub(crate) fn query(query: &TraceQuery) -> types::TraceQuery {
    let nanos = |duration: Option<Duration>| duration.map(clamped_nanos);
    types::TraceQuery {
        flow_id: query.flow_id.as_ref().map(|flow| flow.0.clone()),
        execution_id: query.execution_id.map(|execution| uuid(execution.0)),
        start_from: query.time_range.map(|(from, _)| time::nanos(from)),
        start_to: query.time_range.map(|(_, to)| time::nanos(to)),
        status: query.status.as_ref().map(status),
        error: query
            .status
            .as_ref()
            .and_then(ExecutionStatus::error)
            .filter(|error| !error.is_empty())
            .map(str::to_owned),
        actor: query.actor_filter.clone(),
        event_types: query.event_types.as_ref().map(|kinds| kinds.iter().map(|kind| kind.name().to_owned()).collect()),
        tags: query.tags.clone().into_iter().collect(),
        min_duration: nanos(query.min_duration),
        max_duration: nanos(query.max_duration),
        has_error: query.has_error,
        ascending: query.order == SortOrder::OldestFirst,
        more: Vec::new(),
    }
}

/// The longest message of a plugin's error, in bytes. It goes to clients and into the log.
const MAX_MESSAGE: usize = 8 * 1024;

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let all = message.len();
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.shrink_to_fit();
        message.push_str(&format!(".. (cut: {all} bytes in all)"));
    }
    message
}

/// A plugin's error as an error of the store.
pub(crate) fn error(plugin: &str, call: &'static str, error: types::StorageError) -> StorageError {
    use types::StorageError as PluginError;
    let with_name = |message: String| format!("plugin `{plugin}`: {}", cut(message));
    match error {
        PluginError::InvalidArgument(message) => StorageError::InvalidArgument(with_name(message)),
        PluginError::NotFound(message) => StorageError::NotFound(with_name(message)),
        PluginError::Unavailable(message) => StorageError::Unavailable(with_name(message)),
        PluginError::Exhausted(message) => StorageError::Exhausted(with_name(message)),
        PluginError::Unsupported(message) => StorageError::Unsupported(with_name(message)),
        PluginError::Conflict(message) => {
            StorageError::Plugin { plugin: plugin.into(), call, reason: cut(message), retryable: true }
        }
        PluginError::Other(failure) => {
            let reason = cut(failure.message);
            StorageError::Plugin { plugin: plugin.into(), call, reason, retryable: failure.retryable }
        }
    }
}
