//! Column values of types that SQLite doesn't have.

use chrono::{DateTime, Utc};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Error, Row};
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The error for a value that another program wrote.
pub(super) fn invalid(column: usize, problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::FromSqlConversionFailure(column, Type::Null, problem.into())
}

pub(super) fn nanoseconds(since_epoch: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(since_epoch)
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    optional_id(row, column)?.ok_or_else(|| invalid(column, "the id is missing"))
}

pub(super) fn optional_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(bytes) => Uuid::from_slice(bytes).map(Some).map_err(|error| invalid(column, error)),
        other => Err(invalid(column, format!("a value of type {} is not an id", other.data_type()))),
    }
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_bytes().map_err(|error| invalid(column, error))?;
    serde_json::from_slice(text).map_err(|error| invalid(column, error))
}

/// A value of JSON, or the default one for NULL.
pub(super) fn optional_json<T: DeserializeOwned + Default>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(T::default()),
        _ => json(row, column),
    }
}

/// An unsigned number as the bits of a signed one; `None` for 0.
pub(super) fn to_bits(number: u64) -> Option<i64> {
    (number != 0).then_some(number.cast_signed())
}

pub(super) fn from_bits(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, Option<i64>>(column)?.map_or(0, i64::cast_unsigned))
}

/// A floating-point number; `None` for 0.0, but not for -0.0.
pub(super) fn to_real(number: f64) -> Option<f64> {
    (number.to_bits() != 0).then_some(number)
}

pub(super) fn from_real(row: &Row<'_>, column: usize) -> rusqlite::Result<f64> {
    Ok(row.get::<_, Option<f64>>(column)?.unwrap_or(0.0))
}
