//! A line of an export.
//!
//! Each line is a JSON object with one record and its checksum: `{"event":{..},"sum":"0123456789abcdef"}`. The checksum
//! covers the number of the line too, so that a line that is missing, doubled or in another place is as wrong as one that
//! was changed.

use chrono::{DateTime, Utc};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::digest::Digest;

/// The version of the format. One that is newer is refused.
pub(super) const VERSION: u32 = 1;

/// The longest first line that is read: another file is not read into memory just to be refused.
pub(super) const MAX_HEAD_BYTES: u64 = 64 << 10;

/// The longest line that is read. A line holds one event at most, and no stored event comes near this size.
pub(super) const MAX_BYTES: u64 = 1 << 30;

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

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record<'a> {
    Export(&'a Head),
    /// A trace begins: its header. The events that follow are its own.
    Trace(&'a FlowTrace),
    /// A trace begins that has no header.
    Headerless(TraceId),
    Event(&'a TraceEvent),
    /// Everything is there.
    End(&'a Manifest),
}

/// The same as it is read.
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

/// Adds the line with this number, from 1 on.
pub(super) fn write(out: &mut Vec<u8>, number: u64, record: &Record<'_>) -> serde_json::Result<()> {
    let start = out.len();
    serde_json::to_writer(&mut *out, record)?;
    // The brace that closes the object comes after the checksum.
    out.pop();
    let sum = xxh3_64_with_seed(&out[start..], number);
    out.extend_from_slice(SUM);
    out.extend_from_slice(format!("{sum:016x}\"}}\n").as_bytes());
    Ok(())
}

/// What a line says, without its line break; or what is wrong with it.
pub(super) fn read(line: &[u8], number: u64) -> Result<OwnedRecord, String> {
    let not_ours = || "it is not a line of an export of this program".to_owned();
    let (record, tail) = line.split_at_checked(line.len().saturating_sub(TAIL)).ok_or_else(not_ours)?;
    let sum = tail
        .strip_prefix(SUM)
        .and_then(|tail| tail.strip_suffix(b"\"}"))
        .and_then(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
        .ok_or_else(not_ours)?;
    if xxh3_64_with_seed(record, number) != sum {
        return Err("its checksum is wrong: it was changed, or lines before it are missing or doubled".into());
    }
    let mut json = Vec::with_capacity(record.len() + 1);
    json.extend_from_slice(record);
    json.push(b'}');
    serde_json::from_slice(&json).map_err(|error| format!("it can't be understood: {error}"))
}

/// The version that a first line names, also in a line that is not understood.
pub(super) fn version(line: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    value.get("export")?.get("version")?.as_u64()
}
