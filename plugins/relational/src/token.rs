//! Page tokens: the time and the id of the last item of a page.

use reflow_tracing_plugin::sql::Value;
use reflow_tracing_plugin::{Result, StorageError};

#[derive(Clone, Copy)]
pub struct Place {
    /// Nanoseconds since the epoch.
    pub time: i64,
    pub id: [u8; 16],
}

impl Place {
    /// The place of a row that starts with a time and an id.
    pub fn of_row(row: &[Value]) -> Option<Self> {
        match row {
            [Value::Integer(time), Value::Blob(id), ..] => {
                Some(Self { time: *time, id: id.as_slice().try_into().ok()? })
            }
            _ => None,
        }
    }

    /// The page token.
    pub fn token(self) -> Vec<u8> {
        [self.time.to_be_bytes().as_slice(), &self.id].concat()
    }

    pub fn parse(token: &[u8]) -> Result<Self> {
        let place = token.split_at_checked(8).and_then(|(time, id)| {
            Some(Self { time: i64::from_be_bytes(time.try_into().ok()?), id: id.try_into().ok()? })
        });
        place.ok_or_else(|| {
            StorageError::InvalidArgument("the page token is not valid: it must come from this plugin".into())
        })
    }

    pub fn into_values(self) -> (Value, Value) {
        (Value::Integer(self.time), Value::Blob(self.id.into()))
    }
}
