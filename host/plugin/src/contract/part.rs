//! Pieces of keys, values and arguments that are filled in from events.

use std::io::Write;

use super::batch::Row;
use super::bindings::reflow::capabilities::{keyvalue, redis};
use super::field::{Field, FieldValue};

/// A piece of a key, a value or an argument.
pub(crate) enum Part {
    Fixed(Vec<u8>),
    Text(Field),
    Sortable(Field),
    Present(Field),
}

/// The contract has the same type in two interfaces.
macro_rules! from_contract {
    ($($interface:ident),+) => {
        $(impl TryFrom<$interface::Part> for Part {
            /// Says that a name is not a field.
            type Error = String;

            fn try_from(part: $interface::Part) -> Result<Self, String> {
                Ok(match part {
                    $interface::Part::Fixed(bytes) => Self::Fixed(bytes),
                    $interface::Part::Field(name) => Self::Text(name.parse()?),
                    $interface::Part::Sortable(name) => Self::Sortable(name.parse()?),
                    $interface::Part::Present(name) => Self::Present(name.parse()?),
                })
            }
        })+
    };
}

from_contract!(keyvalue, redis);

impl Part {
    /// Appends the value of an event.
    pub(crate) fn write(&self, row: &Row, bytes: &mut Vec<u8>) {
        match self {
            Self::Fixed(fixed) => bytes.extend_from_slice(fixed),
            Self::Present(field) => bytes.push(if row.has(*field) { b'1' } else { b'0' }),
            Self::Text(Field::Body) | Self::Sortable(Field::Body) => row.append_body(bytes),
            Self::Text(field) => match row.value(*field) {
                FieldValue::Uuid(uuid) => {
                    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                    bytes.extend_from_slice(uuid.hyphenated().encode_lower(&mut text).as_bytes());
                }
                FieldValue::Integer(number) => write!(bytes, "{number}").expect("writing to a Vec does not fail"),
                other => append(other, bytes),
            },
            Self::Sortable(field) => match row.value(*field) {
                FieldValue::Uuid(uuid) => bytes.extend_from_slice(uuid.as_bytes()),
                FieldValue::Integer(number) => bytes.extend_from_slice(&sortable(number)),
                other => append(other, bytes),
            },
        }
    }
}

fn append(value: FieldValue<'_>, bytes: &mut Vec<u8>) {
    match value {
        FieldValue::Text(text) => bytes.extend_from_slice(text.as_bytes()),
        FieldValue::Blob(blob) => bytes.extend_from_slice(&blob),
        FieldValue::Absent | FieldValue::Uuid(_) | FieldValue::Integer(_) => {}
    }
}

/// Bytes that sort in the order of the numbers.
fn sortable(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_bytes() {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX].map(sortable);
        assert!(numbers.is_sorted() && numbers[0] == [0; 8], "{numbers:?}");
    }
}
