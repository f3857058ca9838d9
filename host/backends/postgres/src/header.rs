//! The header of a trace as a row of the table `trace`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::DateTime;
use reflow_tracing_model::{ExecutionId, ExecutionStatus, FlowId, FlowTrace, TraceId, time};
use reflow_tracing_storage::StorageError;
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgBindIterExt, PgRow};
use sqlx::query::Query;

use super::column::{invalid, json, optional_json, optional_text, text};
use super::escape::escape;
use super::placement::Moved;

/// The columns that [`Found::read`] reads, in its order.
pub(super) const COLUMNS: &str = "seq, placed_at, trace_id, flow_id, execution_id, start_time, end_time, status, error, version, metadata, \
     more";

/// A header. The costly encodings are done before the header reaches a writer.
pub(super) struct HeaderRow {
    pub header: FlowTrace,
    version: String,
    metadata: String,
    tags: String,
    more: Option<String>,
}

impl HeaderRow {
    /// The approximate size of a typical header in memory.
    pub(super) const BYTES: usize = 1024;

    /// The row of a header. `header` holds no events.
    pub(super) fn new(header: FlowTrace) -> Result<Self, StorageError> {
        Ok(Self {
            version: serde_json::to_string(&header.version)?,
            metadata: serde_json::to_string(&header.metadata)?,
            tags: tags_json(&header.metadata.tags)?,
            more: (!header.more.is_empty()).then(|| serde_json::to_string(&header.more)).transpose()?,
            header,
        })
    }

    pub(super) fn start(&self) -> i64 {
        time::nanos(self.header.start_time)
    }

    /// The time that determines the partition: the start, unless that can't be right.
    pub(super) fn placed_at(&self) -> i64 {
        self.header.received_at().map_or_else(|| self.start(), time::nanos)
    }
}

/// Tags as the column `tags` holds them.
pub(super) fn tags_json(tags: &BTreeMap<String, String>) -> serde_json::Result<String> {
    let escaped: BTreeMap<Cow<'_, str>, _> = tags.iter().map(|(name, value)| (escape(name), escape(value))).collect();
    serde_json::to_string(&escaped)
}

/// Binds these rows, each of another trace, to the parameters of `sql/store_traces.sql`.
pub(super) fn bind<'q>(
    query: Query<'q, sqlx::Postgres, PgArguments>,
    rows: &[&HeaderRow],
    moved: &Moved,
) -> Query<'q, sqlx::Postgres, PgArguments> {
    macro_rules! bind {
        ($query:expr, $row:ident, $($column:expr),+ $(,)?) => {
            $query$(.bind(rows.iter().map(|$row| $column).bind_iter()))+
        };
    }
    bind!(
        query,
        row,
        row.header.trace_id.0,
        moved.place(row.placed_at()),
        escape(row.header.flow_id.as_str()),
        row.header.execution_id.0,
        row.start(),
        row.header.end_time.map(time::nanos),
        row.header.duration_ns(),
        row.header.status.name(),
        row.header.status.error().map(escape),
        row.version.as_str(),
        row.metadata.as_str(),
        row.tags.as_str(),
        row.more.as_deref(),
    )
}

/// A header, and the location of its events.
pub(super) struct Found {
    pub header: FlowTrace,
    pub location: Location,
}

/// The location of the events of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub sequence: i64,
    pub placed_at: i64,
}

impl Location {
    /// Reads a row whose first columns are `seq` and `placed_at`.
    pub(super) fn read(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { sequence: row.try_get(0)?, placed_at: row.try_get(1)? })
    }
}

impl Found {
    /// Reads a row with the columns [`COLUMNS`].
    pub(super) fn read(row: &PgRow) -> sqlx::Result<Self> {
        let status = ExecutionStatus::from_columns(row.try_get(7)?, optional_text(row, 8)?).map_err(invalid)?;
        let header = FlowTrace {
            trace_id: TraceId(row.try_get(2)?),
            flow_id: FlowId(text(row, 3)?),
            execution_id: ExecutionId(row.try_get(4)?),
            start_time: DateTime::from_timestamp_nanos(row.try_get(5)?),
            end_time: row.try_get::<Option<i64>, _>(6)?.map(DateTime::from_timestamp_nanos),
            status,
            version: json(row, 9)?,
            metadata: json(row, 10)?,
            more: optional_json(row, 11)?,
            events: Vec::new(),
        };
        Ok(Self { header, location: Location::read(row)? })
    }
}
