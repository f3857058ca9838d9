//! A row of `trace_events`.

use chrono::{DateTime, Utc};
use reflow_tracing_model::{EventId, More, TraceEvent};
use rusqlite::Row;
use serde::de::DeserializeOwned;

use super::layout::Events;

/// What [`read`] reads, in its order, from the table `trace_events` called `row`.
pub(super) fn columns(layout: Events) -> &'static str {
    match layout {
        Events::Columns => {
            "row.rowid, row.event_id, row.timestamp, row.event_type, row.actor_id, row.data, row.causality"
        }
        Events::Whole => "row.rowid, row.event_id, row.timestamp, row.data",
    }
}

/// An event, or what is wrong with its row. Its time is to the second, unless the row has the whole event.
pub(super) fn read(row: &Row<'_>, layout: Events) -> rusqlite::Result<Result<TraceEvent, String>> {
    let number: i64 = row.get(0)?;
    let event = match layout {
        Events::Columns => of_columns(row),
        Events::Whole => json_blob(row, 3, "data"),
    };
    let event = event.and_then(|event: TraceEvent| match event.validate() {
        Ok(()) => Ok(event),
        Err(error) => Err(error.to_string()),
    });
    Ok(event.map_err(|problem| {
        let id = text(row, 1, "event_id").unwrap_or_default();
        format!("trace_events, row {number} (event {id}): {problem}")
    }))
}

fn of_columns(row: &Row<'_>) -> Result<TraceEvent, String> {
    Ok(TraceEvent {
        event_id: EventId(text(row, 1, "event_id")?.parse().map_err(|error| format!("event_id: {error}"))?),
        timestamp: seconds(row, 2, "timestamp")?.ok_or("timestamp is missing")?,
        event_type: json(row, 3, "event_type")?,
        actor_id: text(row, 4, "actor_id")?,
        data: json(row, 5, "data")?,
        causality: json(row, 6, "causality")?,
        more: More::EMPTY,
    })
}

pub(super) fn text(row: &Row<'_>, column: usize, name: &str) -> Result<String, String> {
    row.get(column).map_err(|error| format!("{name}: {error}"))
}

/// A time in whole seconds since 1970.
pub(super) fn seconds(row: &Row<'_>, column: usize, name: &str) -> Result<Option<DateTime<Utc>>, String> {
    let seconds: Option<i64> = row.get(column).map_err(|error| format!("{name}: {error}"))?;
    seconds
        .map(|seconds| DateTime::from_timestamp(seconds, 0).ok_or_else(|| format!("{name}: {seconds} is not a time")))
        .transpose()
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize, name: &str) -> Result<T, String> {
    let bytes = row.get_ref(column).map_err(|error| format!("{name}: {error}"))?;
    let bytes = bytes.as_bytes().map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_slice(bytes).map_err(|error| format!("{name}: {error}"))
}

/// JSON that may be compressed, whatever the row says about that.
pub(super) fn json_blob<T: DeserializeOwned>(row: &Row<'_>, column: usize, name: &str) -> Result<T, String> {
    /// What one value may take up once it is decompressed.
    const MAX_BYTES: u64 = 1 << 30;
    const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

    let bytes = row.get_ref(column).map_err(|error| format!("{name}: {error}"))?;
    let bytes = bytes.as_bytes().map_err(|error| format!("{name}: {error}"))?;
    if !bytes.starts_with(&ZSTD_MAGIC) {
        return serde_json::from_slice(bytes).map_err(|error| format!("{name}: {error}"));
    }
    let mut json = Vec::new();
    let decompressed = zstd::Decoder::new(bytes)
        .and_then(|decoder| std::io::Read::read_to_end(&mut std::io::Read::take(decoder, MAX_BYTES + 1), &mut json));
    decompressed.map_err(|error| format!("{name} can't be decompressed: {error}"))?;
    if json.len() as u64 > MAX_BYTES {
        return Err(format!("{name} is longer than {MAX_BYTES} bytes once it is decompressed"));
    }
    serde_json::from_slice(&json).map_err(|error| format!("{name}: {error}"))
}
