//! Decodes values of PostgreSQL from its binary format.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike};
use sqlx::postgres::{PgRow, PgTypeInfo, PgTypeKind, PgValueFormat};
use sqlx::{Column, Row, TypeInfo, ValueRef};
use uuid::Uuid;

use super::super::server::{date_text, time_text};
use crate::contract::bindings::reflow::capabilities::sql::{SqlError, Value};

/// A value of a row.
pub(super) fn value(row: &PgRow, column: usize) -> Result<Value, SqlError> {
    let raw = row.try_get_raw(column).map_err(|error| SqlError::Conversion(error.to_string()))?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let of = raw.type_info();
    let bytes = raw.as_bytes().map_err(|error| SqlError::Conversion(error.to_string()))?;
    let read = match raw.format() {
        PgValueFormat::Binary => read(&of, bytes),
        PgValueFormat::Text => text(bytes),
    };
    read.ok_or_else(|| {
        let name = row.columns()[column].name();
        SqlError::Conversion(format!(
            "column `{name}` has the type {}, which plugins can't read; convert it in the statement, for example with ::text",
            of.name()
        ))
    })
}

fn read(of: &PgTypeInfo, bytes: &[u8]) -> Option<Value> {
    match of.kind() {
        PgTypeKind::Domain(of) => return read(of, bytes),
        PgTypeKind::Enum(_) => return text(bytes),
        PgTypeKind::Simple | PgTypeKind::Pseudo => {}
        _ => return None,
    }
    Some(match of.name() {
        "BOOL" => Value::Boolean(*bytes.first()? != 0),
        "INT2" => Value::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        "INT4" => Value::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        "INT8" => Value::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        "OID" => Value::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        "FLOAT4" => Value::Real(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        "FLOAT8" => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        "TEXT" | "VARCHAR" | "CHAR" | "\"CHAR\"" | "NAME" | "JSON" | "UNKNOWN" => text(bytes)?,
        // After the version of the format.
        "JSONB" => text(bytes.strip_prefix(&[1])?)?,
        "BYTEA" => Value::Blob(bytes.into()),
        "UUID" => Value::Text(Uuid::from_slice(bytes).ok()?.to_string()),
        "NUMERIC" => Value::Text(numeric(bytes)?),
        "DATE" => Value::Text(date(i32::from_be_bytes(bytes.try_into().ok()?))?),
        "TIME" => Value::Text(time(i64::from_be_bytes(bytes.try_into().ok()?))?),
        "TIMESTAMP" => Value::Text(timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "")?),
        "TIMESTAMPTZ" => Value::Text(timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "+00:00")?),
        "VOID" => Value::Null,
        _ => return None,
    })
}

fn text(bytes: &[u8]) -> Option<Value> {
    Some(Value::Text(String::from_utf8(bytes.into()).ok()?))
}

/// Days since 2000.
fn date(days: i32) -> Option<String> {
    match days {
        i32::MAX => return Some("infinity".into()),
        i32::MIN => return Some("-infinity".into()),
        _ => {}
    }
    let date = NaiveDate::from_ymd_opt(2000, 1, 1)?.checked_add_signed(TimeDelta::days(days.into()))?;
    Some(date_text(date.year(), date.month(), date.day()))
}

/// Microseconds since midnight.
fn time(micros: i64) -> Option<String> {
    let micros = u64::try_from(micros).ok()?;
    let seconds = u32::try_from(micros / 1_000_000).ok()?;
    Some(time_text(seconds / 3600, seconds / 60 % 60, seconds % 60, (micros % 1_000_000) as u32))
}

/// Microseconds since 2000.
fn timestamp(micros: i64, zone: &str) -> Option<String> {
    /// 2000-01-01T00:00:00Z since 1970.
    const EPOCH: i64 = 946_684_800_000_000;
    match micros {
        i64::MAX => return Some("infinity".into()),
        i64::MIN => return Some("-infinity".into()),
        _ => {}
    }
    let time = DateTime::from_timestamp_micros(micros.checked_add(EPOCH)?)?;
    let date = date_text(time.year(), time.month(), time.day());
    let of_day = time_text(time.hour(), time.minute(), time.second(), time.nanosecond() / 1_000);
    Some(format!("{date} {of_day}{zone}"))
}

/// Base-10,000 digits: their number, the exponent of the first, the sign, the number of decimals, the digits.
fn numeric(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (count, weight, sign, scale) = (words.next()?, words.next()?.cast_signed(), words.next()?, words.next()?);
    let digits: Vec<u16> = words.collect();
    if digits.len() != usize::from(count) {
        return None;
    }
    let mut text = match sign {
        0x0000 => String::new(),
        0x4000 => "-".into(),
        0xC000 => return Some("NaN".into()),
        0xD000 => return Some("Infinity".into()),
        0xF000 => return Some("-Infinity".into()),
        _ => return None,
    };
    // The digit of a power of 10,000; leading and trailing zeros are omitted.
    let digit = |power: i32| usize::try_from(i32::from(weight) - power).ok().and_then(|at| digits.get(at)).copied();
    if weight < 0 {
        text.push('0');
    }
    for power in (0..=i32::from(weight)).rev() {
        let digit = digit(power).unwrap_or(0);
        // Writing to a string can't fail.
        let _ = if power == i32::from(weight) { write!(text, "{digit}") } else { write!(text, "{digit:04}") };
    }
    if scale > 0 {
        text.push('.');
        let mut decimals = String::new();
        for power in 1..=i32::from(scale.div_ceil(4)) {
            let _ = write!(decimals, "{:04}", digit(-power).unwrap_or(0));
        }
        text.push_str(&decimals[..usize::from(scale)]);
    }
    Some(text)
}
