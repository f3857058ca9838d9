//! The header of a trace as a row of the table `traces`.

use std::collections::BTreeMap;

use chrono::DateTime;
use clickhouse::Row;
use reflow_tracing_model::{ExecutionId, ExecutionStatus, FlowId, FlowTrace, More, TraceId, time};
use reflow_tracing_storage::StorageError;
use serde::{Deserialize, Serialize};

use super::event::{Id, uuid};

/// The row of a header. The server adds when it was stored.
#[derive(Row, Serialize)]
pub(super) struct HeaderRow<'a> {
    start_time: i64,
    trace_id: Id,
    flow_id: &'a str,
    execution_id: Id,
    end_time: Option<i64>,
    duration_ns: Option<i64>,
    status: &'static str,
    error: &'a str,
    version: String,
    metadata: String,
    tags: &'a BTreeMap<String, String>,
    more: String,
}

impl<'a> HeaderRow<'a> {
    pub(super) fn new(header: &'a FlowTrace) -> Result<Self, StorageError> {
        Ok(Self {
            start_time: time::nanos(header.start_time),
            trace_id: header.trace_id.0.as_u64_pair(),
            flow_id: header.flow_id.as_str(),
            execution_id: header.execution_id.0.as_u64_pair(),
            end_time: header.end_time.map(time::nanos),
            duration_ns: header.duration_ns(),
            status: header.status.name(),
            error: header.status.error().unwrap_or_default(),
            version: serde_json::to_string(&header.version)?,
            metadata: serde_json::to_string(&header.metadata)?,
            tags: &header.metadata.tags,
            more: match header.more.is_empty() {
                true => String::new(),
                false => serde_json::to_string(&header.more)?,
            },
        })
    }
}

/// The columns that a [`StoredHeader`] is read from.
pub(super) const COLUMNS: &str =
    "start_time, trace_id, flow_id, execution_id, end_time, status, error, version, metadata, more, stored_at";

/// A row of [`COLUMNS`].
#[derive(Row, Deserialize)]
pub(super) struct StoredHeader {
    pub start_time: i64,
    trace_id: Id,
    flow_id: String,
    execution_id: Id,
    end_time: Option<i64>,
    status: String,
    error: String,
    version: String,
    metadata: String,
    more: String,
    /// Nanoseconds since 1970 by the server's clock.
    pub stored_at: i64,
}

impl StoredHeader {
    pub(super) fn trace_id(&self) -> TraceId {
        TraceId(uuid(self.trace_id))
    }

    pub(super) fn failed(&self) -> bool {
        self.status == "Failed"
    }

    /// The header. Fails if another program wrote the row.
    pub(super) fn header(self) -> Result<FlowTrace, StorageError> {
        let trace_id = self.trace_id();
        let corrupt = |problem: String| StorageError::Corrupt(format!("in the header of trace {trace_id}: {problem}"));
        let error = self.failed().then_some(self.error);
        let status = ExecutionStatus::from_columns(&self.status, error).map_err(corrupt)?;
        Ok(FlowTrace {
            trace_id,
            flow_id: FlowId(self.flow_id),
            execution_id: ExecutionId(uuid(self.execution_id)),
            version: serde_json::from_str(&self.version).map_err(|error| corrupt(error.to_string()))?,
            start_time: DateTime::from_timestamp_nanos(self.start_time),
            end_time: self.end_time.map(DateTime::from_timestamp_nanos),
            status,
            events: Vec::new(),
            metadata: serde_json::from_str(&self.metadata).map_err(|error| corrupt(error.to_string()))?,
            more: match self.more.as_str() {
                "" => More::EMPTY,
                json => serde_json::from_str(json).map_err(|error| corrupt(error.to_string()))?,
            },
        })
    }
}
