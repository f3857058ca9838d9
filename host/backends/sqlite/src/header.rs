//! The header of a trace as a row of the table `trace`.

use rusqlite::{Row, params};

use super::column::{id, invalid, json, nanoseconds, optional_json};
use reflow_tracing_model::{ExecutionId, ExecutionStatus, FlowId, FlowTrace, TraceId, time};
use reflow_tracing_storage::StorageError;

/// The columns that [`read`] reads, in its order.
pub(super) const COLUMNS: &str =
    "trace_id, flow_id, execution_id, start_time, end_time, status, error, version, metadata, more";

/// A header. The costly encodings are done before the header reaches the writer thread.
pub(super) struct HeaderRow {
    pub header: FlowTrace,
    version: String,
    metadata: String,
    more: Option<String>,
}

impl HeaderRow {
    /// The approximate size of a typical header in memory.
    pub(super) const BYTES: usize = 1024;

    /// The row of a header. `header` holds no events.
    pub(super) fn new(header: FlowTrace) -> Result<Self, StorageError> {
        let (version, metadata) = (serde_json::to_string(&header.version)?, serde_json::to_string(&header.metadata)?);
        let more = (!header.more.is_empty()).then(|| serde_json::to_string(&header.more)).transpose()?;
        Ok(Self { header, version, metadata, more })
    }

    /// Runs `sql/store_trace.sql`. Returns the trace's sequence number.
    pub(super) fn store(&self, statement: &mut rusqlite::Statement<'_>) -> rusqlite::Result<i64> {
        let header = &self.header;
        statement.query_row(
            params![
                header.trace_id.0.as_bytes(),
                header.flow_id.as_str(),
                header.execution_id.0.as_bytes(),
                time::nanos(header.start_time),
                header.end_time.map(time::nanos),
                header.status.name(),
                header.status.error(),
                self.version,
                self.metadata,
                self.more,
            ],
            |row| row.get(0),
        )
    }
}

/// The header in a row, whose columns from `first` on are [`COLUMNS`].
pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<FlowTrace> {
    let status = row.get_ref(first + 5)?.as_str().map_err(|error| invalid(first + 5, error))?;
    let status = ExecutionStatus::from_columns(status, row.get(first + 6)?);
    Ok(FlowTrace {
        trace_id: TraceId(id(row, first)?),
        flow_id: FlowId(row.get(first + 1)?),
        execution_id: ExecutionId(id(row, first + 2)?),
        start_time: nanoseconds(row.get(first + 3)?),
        end_time: row.get::<_, Option<i64>>(first + 4)?.map(nanoseconds),
        status: status.map_err(|error| invalid(first + 5, error))?,
        version: json(row, first + 7)?,
        metadata: json(row, first + 8)?,
        more: optional_json(row, first + 9)?,
        events: Vec::new(),
    })
}
