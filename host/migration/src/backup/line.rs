//! A line of an export.
//!
//! Each line is a JSON object with one record and its checksum: `{"event":{..},"sum":"0123456789abcdef"}`. The checksum
//! also covers the line number, so it detects missing, repeated and moved lines as well as changed ones.

use chrono::{DateTime, Utc};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId, from_json, max_decoded_bytes};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::digest::Digest;

/// The version of the format. A newer one is refused, an older one is read. Since version 2, metrics may be `null`, and
/// fields that the model does not name are kept.
pub(super) const VERSION: u32 = 2;

/// The maximum length of the first line: a file of another format is refused without reading all of it into memory.
pub(super) const MAX_HEAD_BYTES: u64 = 64 << 10;

/// The maximum length of a line. A line holds at most one event; those that a host takes are an eighth of it at most.
pub(super) const MAX_BYTES: u64 = 128 << 20;

/// The memory that a record may take.
const MAX_DECODED_BYTES: usize = 256 << 20;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub version: u32,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
}

/// The last line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    #[serde(flatten)]
    pub digest: Digest,
    /// Lines before this one.
    pub lines: u64,
}

/// The record in a line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record<'a> {
    Export(&'a Head),
    /// The header of the next trace, which is followed by its events.
    Trace(&'a FlowTrace),
    /// The next trace, which has no header.
    Headerless(TraceId),
    Event(&'a TraceEvent),
    /// The end of a complete file.
    End(&'a Manifest),
}

impl Record<'_> {
    fn name(&self) -> String {
        match self {
            Self::Trace(header) => format!("the header of trace {}", header.trace_id),
            Self::Event(event) => format!("event {}", event.event_id),
            Self::Export(_) | Self::Headerless(_) | Self::End(_) => "a record".into(),
        }
    }
}

/// The same, as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // There is one at a time.
pub(super) enum OwnedRecord {
    Export(Head),
    Trace(FlowTrace),
    Headerless(TraceId),
    Event(TraceEvent),
    End(Manifest),
}

const SUM: &[u8] = b",\"sum\":\"";
const DIGITS: usize = 16;
const TAIL: usize = SUM.len() + DIGITS + b"\"}".len();

/// Adds the line with this number, which counts from 1.
pub(super) fn write(out: &mut Vec<u8>, number: u64, record: &Record<'_>) -> serde_json::Result<()> {
    let start = out.len();
    serde_json::to_writer(&mut *out, record)?;
    // The brace that closes the object comes after the checksum.
    out.pop();
    let sum = xxh3_64_with_seed(&out[start..], number);
    out.extend_from_slice(SUM);
    out.extend_from_slice(format!("{sum:016x}\"}}\n").as_bytes());
    let length = out.len() - start;
    if length as u64 > MAX_BYTES {
        // It could not be read again.
        out.truncate(start);
        return Err(serde::ser::Error::custom(format!(
            "{} is {} MiB as a line of an export, which may have {} MiB",
            record.name(),
            length >> 20,
            MAX_BYTES >> 20
        )));
    }
    Ok(())
}

/// Reads a line without its line break, which it may change. The error says what is wrong with it.
pub(super) fn read(line: &mut Vec<u8>, number: u64) -> Result<OwnedRecord, String> {
    let not_ours = || "it is not a line of an export of this program".to_owned();
    let (record, tail) = line.split_at_checked(line.len().saturating_sub(TAIL)).ok_or_else(not_ours)?;
    let sum = tail
        .strip_prefix(SUM)
        .and_then(|tail| tail.strip_suffix(b"\"}"))
        .and_then(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
        .ok_or_else(not_ours)?;
    if xxh3_64_with_seed(record, number) != sum {
        return Err("its checksum is wrong: it was changed, or lines before it are missing or repeated".into());
    }
    let length = record.len();
    line.truncate(length);
    line.push(b'}');
    let decoded = max_decoded_bytes(line);
    if decoded > MAX_DECODED_BYTES {
        let (decoded, most) = (decoded >> 20, MAX_DECODED_BYTES >> 20);
        return Err(format!("its record may take {decoded} MiB of memory; a record may take {most} MiB"));
    }
    from_json(line).map_err(|error| format!("it is not a valid record: {error}"))
}

/// The version in a first line, even if the rest of the line is not valid.
pub(super) fn version(line: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    value.get("export")?.get("version")?.as_u64()
}
