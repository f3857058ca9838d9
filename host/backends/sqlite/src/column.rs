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

/// A value of JSON, or the default one for NULL.
pub(super) fn optional_json<T: DeserializeOwned + Default>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(T::default()),
        _ => json(row, column),
    }
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_bytes().map_err(|error| invalid(column, error))?;
    serde_json::from_slice(text).map_err(|error| invalid(column, error))
}
