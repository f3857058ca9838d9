//! The errors of the host for a plugin.

use crate::contract::bindings::reflow::capabilities::sql::{DatabaseError, SqlError};
use crate::contract::budget::OverBudget;

/// An error of the host, not of the database.
pub(super) fn refused(message: impl Into<String>) -> SqlError {
    SqlError::Other(message.into())
}

/// An error of the database.
pub(super) fn database_error(code: String, message: String, retryable: bool) -> SqlError {
    SqlError::Database(DatabaseError { code, message, retryable })
}

/// The host would hold more than it may.
impl From<OverBudget> for SqlError {
    fn from(error: OverBudget) -> Self {
        Self::LimitExceeded(error.to_string())
    }
}

/// A row has more bytes than a value may have.
pub(super) fn row_too_large(max_bytes: usize) -> SqlError {
    SqlError::LimitExceeded(format!("a row has more than {max_bytes} bytes: select fewer columns at a time"))
}

pub(super) fn no_such_column(body: u32, columns: usize) -> SqlError {
    refused(format!("column {body} for the bodies does not exist: the answer has {columns} columns"))
}

pub(super) fn wrong_number_of_parameters(wanted: usize, given: usize) -> SqlError {
    refused(format!("the statement has {wanted} parameters, but {given} were passed"))
}
