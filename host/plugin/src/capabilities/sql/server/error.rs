//! Converts errors of the driver.

use std::error::Error as _;

use super::super::error::refused;
use super::dialect::Dialect;
use crate::contract::bindings::reflow::capabilities::sql::SqlError;

/// The plugin's error for an error of the driver.
pub(in super::super) fn describe<D: Dialect>(error: sqlx::Error) -> SqlError {
    use sqlx::Error;
    match error {
        Error::Database(error) => D::describe(&*error),
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => {
            SqlError::ConnectionLost(chain(&error))
        }
        Error::Encode(_) | Error::Decode(_) | Error::ColumnDecode { .. } => SqlError::Conversion(chain(&error)),
        other => refused(chain(&other)),
    }
}

/// An error with its causes, each once: the driver's messages often contain the cause already.
fn chain(error: &sqlx::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
