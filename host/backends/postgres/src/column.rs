//! Column values that need a conversion.

use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Error, Row};

use super::escape::unescape;

/// The error for a value that another program wrote.
pub(super) fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Decode(problem.into())
}

pub(super) fn text(row: &PgRow, column: usize) -> sqlx::Result<String> {
    optional_text(row, column)?.ok_or_else(|| invalid("a required text is NULL"))
}

pub(super) fn optional_text(row: &PgRow, column: usize) -> sqlx::Result<Option<String>> {
    let Some(text) = row.try_get::<Option<String>, _>(column)? else { return Ok(None) };
    unescape(text).map(Some).ok_or_else(|| invalid("a text contains an invalid escape sequence"))
}

/// A value of JSON, or the default one for NULL.
pub(super) fn optional_json<T: DeserializeOwned + Default>(row: &PgRow, column: usize) -> sqlx::Result<T> {
    match row.try_get::<Option<&str>, _>(column)? {
        None => Ok(T::default()),
        Some(json) => serde_json::from_str(json).map_err(invalid),
    }
}

pub(super) fn json<T: DeserializeOwned>(row: &PgRow, column: usize) -> sqlx::Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(invalid)
}
