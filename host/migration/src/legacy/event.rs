//! A row of `trace_events`.

use std::fmt::Display;
use std::io::Read;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use reflow_tracing_model::{EventId, More, TraceEvent, from_json};
use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::de::DeserializeOwned;

use super::layout::Events;

/// The columns that [`read`] expects, of the table `trace_events` under the name `row`.
pub(super) fn columns(layout: Events) -> &'static str {
    match layout {
        Events::Columns => {
            "row.rowid, row.event_id, row.timestamp, row.event_type, row.actor_id, row.data, row.causality"
        }
        Events::Whole => "row.rowid, row.event_id, row.timestamp, row.data",
    }
}

/// An event, or the problem with its row. Its time is in whole seconds, unless the row has the whole event.
pub(super) fn read(row: &Row<'_>, layout: Events) -> rusqlite::Result<Result<TraceEvent, String>> {
    let number: i64 = row.get(0)?;
    let event: Result<TraceEvent, _> = match layout {
        Events::Columns => from_columns(row),
        Events::Whole => compressed_json(row, 3, "data"),
    };
    let valid = event.and_then(|event| event.validate().map(|()| event).map_err(|error| error.to_string()));
    Ok(valid.map_err(|problem| {
        let id = text(row, 1, "event_id").unwrap_or_default();
        format!("trace_events, row {number} (event {id}): {problem}")
    }))
}

fn from_columns(row: &Row<'_>) -> Result<TraceEvent, String> {
    Ok(TraceEvent {
        event_id: parsed(row, 1, "event_id").map(EventId)?,
        timestamp: seconds(row, 2, "timestamp")?.ok_or("timestamp is missing")?,
        event_type: json(row, 3, "event_type")?,
        actor_id: text(row, 4, "actor_id")?,
        data: compressed_json(row, 5, "data")?,
        causality: compressed_json(row, 6, "causality")?,
        more: More::EMPTY,
    })
}

/// The value of a column. Errors name the column.
pub(super) fn value<T: FromSql>(row: &Row<'_>, column: usize, name: &str) -> Result<T, String> {
    row.get(column).map_err(|error| format!("{name}: {error}"))
}

pub(super) fn text(row: &Row<'_>, column: usize, name: &str) -> Result<String, String> {
    value(row, column, name)
}

/// A text that is an id.
pub(super) fn parsed<T: FromStr<Err: Display>>(row: &Row<'_>, column: usize, name: &str) -> Result<T, String> {
    text(row, column, name)?.parse().map_err(|error| format!("{name}: {error}"))
}

/// A time in whole seconds since 1970.
pub(super) fn seconds(row: &Row<'_>, column: usize, name: &str) -> Result<Option<DateTime<Utc>>, String> {
    let seconds: Option<i64> = value(row, column, name)?;
    seconds
        .map(|seconds| DateTime::from_timestamp(seconds, 0).ok_or_else(|| format!("{name}: {seconds} is not a time")))
        .transpose()
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize, name: &str) -> Result<T, String> {
    from_json(bytes(row, column, name)?).map_err(|error| format!("{name}: {error}"))
}

/// JSON that may be compressed: the content tells, not the column `compressed`.
pub(super) fn compressed_json<T: DeserializeOwned>(row: &Row<'_>, column: usize, name: &str) -> Result<T, String> {
    /// The largest value after decompression.
    const MAX_BYTES: u64 = 1 << 30;
    const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

    let bytes = bytes(row, column, name)?;
    if !bytes.starts_with(&ZSTD_MAGIC) {
        return json(row, column, name);
    }
    let mut json = Vec::new();
    zstd::Decoder::new(bytes)
        .and_then(|decoder| decoder.take(MAX_BYTES + 1).read_to_end(&mut json))
        .map_err(|error| format!("{name} can't be decompressed: {error}"))?;
    if json.len() as u64 > MAX_BYTES {
        return Err(format!("{name} is longer than {MAX_BYTES} bytes after decompression"));
    }
    from_json(&json).map_err(|error| format!("{name}: {error}"))
}

fn bytes<'a>(row: &'a Row<'_>, column: usize, name: &str) -> Result<&'a [u8], String> {
    let value = row.get_ref(column).map_err(|error| format!("{name}: {error}"))?;
    value.as_bytes().map_err(|error| format!("{name}: {error}"))
}
