//! Restricts what a plugin may do with a SQLite connection, and converts SQLite's errors.

use reflow_tracing_storage::StorageError;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode};

use super::super::database::MAX_VALUE_BYTES;
use super::super::error::{database_error, refused};
use crate::contract::bindings::reflow::capabilities::sql::SqlError;

/// Allowed pragmas: they affect only the database, and not its durability.
const PRAGMAS: &[&str] = &[
    "application_id",
    "auto_vacuum",
    "compile_options",
    "data_version",
    "defer_foreign_keys",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "freelist_count",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "optimize",
    "page_count",
    "page_size",
    "quick_check",
    "schema_version",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// Confines a plugin to its granted file: it can't attach or write other files, nor change settings of the process.
pub(super) fn confine(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES as i32)?;
    connection.authorizer(Some(authorize))
}

fn authorize(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        // An empty name is a temporary database, which VACUUM uses.
        AuthAction::Attach { filename } => filename.is_empty(),
        AuthAction::Pragma { pragma_name, .. } => PRAGMAS.contains(&pragma_name.to_ascii_lowercase().as_str()),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Unknown { .. } => false,
        _ => true,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

/// The plugin's error for an error of SQLite.
impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error;
        match error {
            Error::SqliteFailure(failure, message) => {
                let text = message.unwrap_or_else(|| failure.to_string());
                match failure.code {
                    ErrorCode::AuthorizationForStatementDenied => {
                        Self::AccessDenied(format!("{text}: plugins are not allowed to do this"))
                    }
                    ErrorCode::OperationInterrupted => Self::Timeout,
                    ErrorCode::TooBig => Self::LimitExceeded(text),
                    code => {
                        let retryable = matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked);
                        database_error(failure.extended_code.to_string(), text, retryable)
                    }
                }
            }
            Error::SqlInputError { error, msg, .. } => {
                if error.code == ErrorCode::AuthorizationForStatementDenied {
                    return Self::AccessDenied(format!("{msg}: plugins are not allowed to do this"));
                }
                database_error(error.extended_code.to_string(), msg, false)
            }
            error @ (Error::FromSqlConversionFailure(..) | Error::Utf8Error(..) | Error::InvalidColumnType(..)) => {
                Self::Conversion(error.to_string())
            }
            other => refused(other.to_string()),
        }
    }
}

/// The plugin's error for an error of the pool.
pub(super) fn describe_open(error: &StorageError) -> SqlError {
    SqlError::ConnectionLost(error.to_string())
}
