//! Decodes values of MySQL from its binary format.

use sqlx::mysql::MySqlRow;
use sqlx::{Column, MySql, Row, Type, TypeInfo, ValueRef};

use super::super::server::{date_text, time_text};
use crate::contract::bindings::reflow::capabilities::sql::{SqlError, Value};

/// A value of a row.
pub(super) fn value(row: &MySqlRow, column: usize) -> Result<Value, SqlError> {
    let conversion = |error: sqlx::Error| SqlError::Conversion(error.to_string());
    let raw = row.try_get_raw(column).map_err(conversion)?;
    // Raw bytes, because the driver decodes an all-zero date as NULL.
    let Some(bytes) = row.try_get_unchecked::<Option<&[u8]>, _>(column).map_err(conversion)? else {
        return Ok(Value::Null);
    };
    let info = raw.type_info();
    let of = info.name();
    let read = match of {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Some(Value::Integer(row.try_get_unchecked(column).map_err(conversion)?))
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" | "BIGINT UNSIGNED"
        | "YEAR" | "BIT" => {
            let number: u64 = row.try_get_unchecked(column).map_err(conversion)?;
            // Larger numbers are only exact as text.
            Some(i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Integer))
        }
        "FLOAT" => Some(Value::Real(row.try_get_unchecked::<f32, _>(column).map_err(conversion)?.into())),
        "DOUBLE" => Some(Value::Real(row.try_get_unchecked(column).map_err(conversion)?)),
        "DECIMAL" | "SET" | "JSON" => text(bytes),
        // The type's name is not enough: a text with a binary collation is called a blob.
        _ if <str as Type<MySql>>::compatible(&info) => text(bytes),
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "GEOMETRY" => {
            Some(Value::Blob(bytes.into()))
        }
        "DATE" => date(bytes).map(Value::Text),
        "DATETIME" | "TIMESTAMP" => date_time(bytes).map(Value::Text),
        "TIME" => time(bytes).map(Value::Text),
        "NULL" => Some(Value::Null),
        _ => None,
    };
    read.ok_or_else(|| {
        let name = row.columns()[column].name();
        SqlError::Conversion(format!(
            "column `{name}` has the type {of}, which plugins can't read; convert it in the statement, for example with CAST(.. AS CHAR)"
        ))
    })
}

fn text(bytes: &[u8]) -> Option<Value> {
    Some(Value::Text(String::from_utf8(bytes.into()).ok()?))
}

/// The length; then year, month and day, or nothing for an all-zero date.
fn date(bytes: &[u8]) -> Option<String> {
    match bytes {
        [0] => Some(date_text(0, 0, 0)),
        [_, year0, year1, month, day, ..] => {
            Some(date_text(u16::from_le_bytes([*year0, *year1]).into(), (*month).into(), (*day).into()))
        }
        _ => None,
    }
}

/// A date; then hours, minutes and seconds unless all are 0; then microseconds unless 0.
fn date_time(bytes: &[u8]) -> Option<String> {
    let of_day = match bytes.get(5..).unwrap_or_default() {
        [] => time_text(0, 0, 0, 0),
        [hours, minutes, seconds, rest @ ..] => {
            time_text((*hours).into(), (*minutes).into(), (*seconds).into(), micros(rest)?)
        }
        _ => return None,
    };
    Some(format!("{} {of_day}", date(bytes)?))
}

/// The length; then sign, days, hours, minutes and seconds; then microseconds unless 0.
fn time(bytes: &[u8]) -> Option<String> {
    match bytes {
        [0] => Some(time_text(0, 0, 0, 0)),
        [_, negative, d0, d1, d2, d3, hours, minutes, seconds, rest @ ..] => {
            let hours = u32::from_le_bytes([*d0, *d1, *d2, *d3]) * 24 + u32::from(*hours);
            let text = time_text(hours, (*minutes).into(), (*seconds).into(), micros(rest)?);
            Some(if *negative == 1 { format!("-{text}") } else { text })
        }
        _ => None,
    }
}

fn micros(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [] => Some(0),
        bytes => Some(u32::from_le_bytes(bytes.try_into().ok()?)),
    }
}
