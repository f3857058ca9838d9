//! Encodes values as the types of PostgreSQL, in its binary format.

use std::ops::Range;

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, PgTypeKind};
use sqlx::{Arguments, Postgres, Type, TypeInfo};
use uuid::Uuid;

use super::super::error::wrong_number_of_parameters;
use super::super::input::{Input, InputRows};
use crate::contract::bindings::reflow::capabilities::sql::SqlError;

/// The arguments of a statement. A parameter of an array type gets the values of all rows, another the value of the first row.
pub(super) fn arguments(
    types: &[PgTypeInfo],
    rows: &InputRows<'_>,
    range: Range<usize>,
) -> Result<PgArguments, SqlError> {
    if types.len() != rows.width() {
        return Err(wrong_number_of_parameters(types.len(), rows.width()));
    }
    let mut arguments = PgArguments::default();
    for (index, of) in types.iter().enumerate() {
        let bytes = match of.kind() {
            PgTypeKind::Array(element) => Some(array(element, rows, range.clone(), index)?),
            _ => {
                let mut bytes = Vec::new();
                let value = &rows.row(range.start)[index];
                write(&mut bytes, of, value, index)?.then_some(bytes)
            }
        };
        arguments.add(Encoded { of: of.clone(), bytes }).map_err(|error| SqlError::Conversion(error.to_string()))?;
    }
    Ok(arguments)
}

/// A value in the binary format of its type.
struct Encoded {
    of: PgTypeInfo,
    bytes: Option<Vec<u8>>,
}

impl Type<Postgres> for Encoded {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("BYTEA")
    }
}

impl Encode<'_, Postgres> for Encoded {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(match &self.bytes {
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.of.clone())
    }
}

/// One parameter of each row.
fn array(element: &PgTypeInfo, rows: &InputRows<'_>, range: Range<usize>, index: usize) -> Result<Vec<u8>, SqlError> {
    let Some(oid) = element.oid() else {
        return Err(unusable(element, index));
    };
    let mut bytes = Vec::new();
    let mut put = |number: i32| bytes.extend_from_slice(&number.to_be_bytes());
    // One dimension, possibly with NULLs, with indexes from 1.
    put(1);
    put(1);
    put(oid.0.cast_signed());
    put(i32::try_from(range.len())
        .map_err(|_| SqlError::Conversion(format!("{} rows are too many for one statement", range.len())))?);
    put(1);
    for row in range {
        let length_at = bytes.len();
        bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        if write(&mut bytes, element, &rows.row(row)[index], index)? {
            let length = i32::try_from(bytes.len() - length_at - 4)
                .map_err(|_| SqlError::LimitExceeded(format!("parameter {} is too large", index + 1)))?;
            bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(bytes)
}

/// Appends a value as the type `of`. Returns false for NULL.
fn write(bytes: &mut Vec<u8>, of: &PgTypeInfo, value: &Input<'_>, index: usize) -> Result<bool, SqlError> {
    let of = match of.kind() {
        PgTypeKind::Domain(of) => return write(bytes, of, value, index),
        PgTypeKind::Enum(_) => "TEXT",
        PgTypeKind::Simple | PgTypeKind::Pseudo => of.name(),
        _ => return Err(unusable(of, index)),
    };
    let out_of_range =
        |number: &i64| SqlError::Conversion(format!("parameter {}: {number} is out of range for {of}", index + 1));
    match (of, value) {
        (_, Input::Null) => return Ok(false),
        ("BOOL", Input::Boolean(truth)) => bytes.push((*truth).into()),
        ("BOOL", Input::Integer(number @ (0 | 1))) => bytes.push(*number as u8),
        ("INT2", Input::Integer(number)) => {
            bytes.extend(i16::try_from(*number).map_err(|_| out_of_range(number))?.to_be_bytes());
        }
        ("INT4", Input::Integer(number)) => {
            bytes.extend(i32::try_from(*number).map_err(|_| out_of_range(number))?.to_be_bytes());
        }
        ("INT8", Input::Integer(number)) => bytes.extend(number.to_be_bytes()),
        ("OID", Input::Integer(number)) => {
            bytes.extend(u32::try_from(*number).map_err(|_| out_of_range(number))?.to_be_bytes());
        }
        ("FLOAT4", Input::Real(number)) => bytes.extend((*number as f32).to_be_bytes()),
        ("FLOAT8", Input::Real(number)) => bytes.extend(number.to_be_bytes()),
        ("FLOAT4", Input::Integer(number)) => bytes.extend((*number as f32).to_be_bytes()),
        ("FLOAT8", Input::Integer(number)) => bytes.extend((*number as f64).to_be_bytes()),
        ("TEXT" | "VARCHAR" | "CHAR" | "NAME" | "JSON" | "UNKNOWN", Input::Text(text)) => {
            bytes.extend(without_nul(text, index)?);
        }
        ("JSONB", Input::Text(text)) => {
            // The version of the jsonb format.
            bytes.push(1);
            bytes.extend(without_nul(text, index)?);
        }
        ("TEXT" | "VARCHAR" | "CHAR", Input::Uuid(uuid)) => bytes.extend(uuid.to_string().as_bytes()),
        ("BYTEA", Input::Blob(blob)) => bytes.extend_from_slice(blob),
        // The UTF-8 of the text, which may contain U+0000, unlike a text in PostgreSQL.
        ("BYTEA", Input::Text(text)) => bytes.extend(text.as_bytes()),
        ("BYTEA" | "UUID", Input::Uuid(uuid)) => bytes.extend(uuid.as_bytes()),
        ("UUID", Input::Blob(blob)) if blob.len() == 16 => bytes.extend_from_slice(blob),
        ("UUID", Input::Text(text)) => {
            let uuid: Uuid = text
                .parse()
                .map_err(|_| SqlError::Conversion(format!("parameter {}: {text:?} is not a UUID", index + 1)))?;
            bytes.extend(uuid.as_bytes());
        }
        (of, value) => {
            return Err(SqlError::Conversion(format!(
                "parameter {} has the type {of}, which does not accept {}; convert it in the statement, \
                 for example with ${0}::text::{of} or another cast",
                index + 1,
                kind(value)
            )));
        }
    }
    Ok(true)
}

fn without_nul(text: &str, index: usize) -> Result<&[u8], SqlError> {
    if text.contains('\0') {
        return Err(SqlError::Conversion(format!(
            "parameter {}: PostgreSQL can't store the character U+0000 in a text; use a column of the type bytea",
            index + 1
        )));
    }
    Ok(text.as_bytes())
}

fn unusable(of: &PgTypeInfo, index: usize) -> SqlError {
    SqlError::Conversion(format!(
        "parameter {} has the type {}, which plugins can't bind; convert it in the statement, for example with ${0}::text::{1}",
        index + 1,
        of.name()
    ))
}

fn kind(value: &Input<'_>) -> &'static str {
    match value {
        Input::Null => "NULL",
        Input::Boolean(_) => "a boolean",
        Input::Integer(_) => "an integer",
        Input::Real(_) => "a real number",
        Input::Text(_) => "a text",
        Input::Blob(_) => "a blob",
        Input::Uuid(_) => "a UUID",
    }
}
