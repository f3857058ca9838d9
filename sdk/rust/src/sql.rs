//! SQL databases that the operator has granted, by label.
//!
//! ```no_run
//! use reflow_tracing_plugin::{Result, sql};
//!
//! fn number_of_orders() -> Result<Option<i64>> {
//!     let database = sql::Connection::open("default")?;
//!     let rows = database.query("SELECT count(*) FROM orders WHERE state = ?", &["open".into()])?.all()?;
//!     Ok(rows.first().and_then(|row| row[0].as_integer()))
//! }
//! ```

pub use crate::bindings::reflow::capabilities::sql::{
    Binding, Connection, Cursor, DatabaseError, Lookup, SqlError as Error, Transaction, Value,
};
use crate::{Failure, StorageError, Uuid};

/// Rows per call: a compromise between the number of calls and the memory.
const FETCH_ROWS: u32 = 1_000;

impl Cursor {
    /// All remaining rows.
    pub fn all(&self) -> Result<Vec<Vec<Value>>, Error> {
        let mut rows = Vec::new();
        loop {
            match self.next(FETCH_ROWS)? {
                page if page.is_empty() => return Ok(rows),
                page => rows.extend(page),
            }
        }
    }
}

impl Value {
    /// The number, if this is an integer.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The bytes, if this is a blob.
    pub fn into_blob(self) -> Option<Vec<u8>> {
        match self {
            Self::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

/// As 16 bytes.
impl From<Uuid> for Value {
    fn from(uuid: Uuid) -> Self {
        Self::Blob(uuid.to_bytes().into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Lets `?` convert an error of the database.
impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchLabel(label) => Self::InvalidArgument(format!(
                "no database is granted under the label `{label}`: add grants = {{ sql = {{ {label} = \"...\" }} }}"
            )),
            Error::AccessDenied(message) => Self::InvalidArgument(message),
            Error::PoolExhausted => {
                Self::Unavailable("too many connections to the database are in use".into())
            }
            Error::Timeout => Self::Unavailable("the database did not answer in time".into()),
            Error::ConnectionLost(message) => Self::Unavailable(message),
            Error::LimitExceeded(message) => Self::Exhausted(message),
            Error::Database(error) => Self::Other(Failure {
                message: format!("{} ({})", error.message, error.code),
                retryable: error.retryable,
            }),
            Error::Conversion(message) | Error::Other(message) => Self::other(message),
        }
    }
}
