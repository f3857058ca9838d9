//! Values of columns that need a word on how they are kept.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Error, Row};

use super::escape::{escape, unescape};

/// A value that this program did not write.
pub(super) fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Decode(problem.into())
}

pub(super) fn escaped(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(escape)
}

pub(super) fn text(row: &PgRow, column: usize) -> sqlx::Result<String> {
    optional_text(row, column)?.ok_or_else(|| invalid("a text is missing"))
}

pub(super) fn optional_text(row: &PgRow, column: usize) -> sqlx::Result<Option<String>> {
    let Some(text) = row.try_get::<Option<String>, _>(column)? else { return Ok(None) };
    unescape(text).map(Some).ok_or_else(|| invalid("a text holds noncharacters that stand for nothing"))
}

pub(super) fn json<T: DeserializeOwned>(row: &PgRow, column: usize) -> sqlx::Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(invalid)
}

/// A number without a sign as the bits of one with a sign; `None` for 0.
pub(super) fn to_bits(number: u64) -> Option<i64> {
    (number != 0).then_some(number.cast_signed())
}

pub(super) fn from_bits(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map_or(0, i64::cast_unsigned))
}
