//! Restricts what a plugin may do with a SQLite connection, and converts SQLite's errors.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// The pragmas among them whose value is one of the connection.
const OF_THE_CONNECTION: &[&str] = &["auto_vacuum", "defer_foreign_keys", "encoding", "foreign_keys", "page_size"];

thread_local! {
    /// Whether this thread runs a VACUUM, which copies the database into a temporary one.
    static VACUUMING: Cell<bool> = const { Cell::new(false) };
}

/// Confines a plugin to its granted file: it can't attach or write other files, nor change settings of the process. Sets
/// `changed` when a statement leaves something in the connection that the next call must not see: a temporary table, or the value
/// of a pragma.
pub(super) fn confine(connection: &mut Connection, changed: &Arc<AtomicBool>) -> rusqlite::Result<()> {
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES as i32)?;
    let changed = Arc::clone(changed);
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if leaves_something(&context) {
            changed.store(true, Ordering::Relaxed);
        }
        authorize(&context)
    }))
}

fn authorize(context: &AuthContext<'_>) -> Authorization {
    let allowed = match &context.action {
        AuthAction::Attach { filename } => filename.is_empty() && VACUUMING.get(),
        AuthAction::Pragma { pragma_name, .. } => PRAGMAS.contains(&pragma_name.to_ascii_lowercase().as_str()),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Unknown { .. } => false,
        _ => true,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

fn leaves_something(context: &AuthContext<'_>) -> bool {
    match &context.action {
        AuthAction::Pragma { pragma_name, pragma_value } => {
            pragma_value.is_some() && OF_THE_CONNECTION.contains(&pragma_name.to_ascii_lowercase().as_str())
        }
        AuthAction::Read { .. } | AuthAction::Select => false,
        _ => context.database_name == Some("temp"),
    }
}

/// Runs `work`, which may attach a temporary database if `statement` is a VACUUM of the granted file.
pub(super) fn run<T>(statement: &str, work: impl FnOnce() -> T) -> T {
    let words = statement.split(|letter: char| letter.is_whitespace() || letter == ';').filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(str::to_ascii_lowercase).collect();
    VACUUMING
        .set(matches!(&words[..], [vacuum, rest @ ..] if vacuum == "vacuum" && (rest.is_empty() || rest == ["main"])));
    let result = work();
    VACUUMING.set(false);
    result
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

#[cfg(test)]
mod tests {
    use super::*;

    fn confined() -> (Connection, Arc<AtomicBool>) {
        let mut connection = Connection::open_in_memory().unwrap();
        let changed = Arc::default();
        confine(&mut connection, &changed).unwrap();
        (connection, changed)
    }

    #[test]
    fn what_stays_in_a_connection_is_noticed() {
        for (statement, stays) in [
            ("CREATE TEMP TABLE t (a)", true),
            ("CREATE TEMPORARY VIEW v AS SELECT 1", true),
            ("CREATE TABLE temp.t (a)", true),
            ("CREATE TABLE t (a); CREATE TEMP TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END", true),
            ("PRAGMA foreign_keys = ON", true),
            ("PRAGMA Foreign_Keys(ON)", true),
            ("PRAGMA foreign_keys", false),
            ("PRAGMA user_version = 3", false),
            ("CREATE TABLE t (a); INSERT INTO t VALUES (1); SELECT * FROM t", false),
            ("SELECT * FROM sqlite_temp_schema", false),
        ] {
            let (connection, changed) = confined();
            connection.execute_batch(statement).expect(statement);
            assert_eq!(changed.load(Ordering::Relaxed), stays, "{statement}");
        }
    }

    #[test]
    fn only_a_vacuum_attaches_a_database() {
        let (connection, _) = confined();
        for statement in ["ATTACH '' AS x", "ATTACH ':memory:' AS x", "ATTACH ('' || '') AS x", "ATTACH NULL AS x"] {
            assert!(run(statement, || connection.execute_batch(statement)).is_err(), "{statement}");
        }
        for statement in ["VACUUM", " vacuum main ;"] {
            run(statement, || connection.execute_batch(statement)).expect(statement);
        }
        assert!(run("VACUUM INTO 'x'", || connection.execute_batch("VACUUM INTO 'x'")).is_err());
        let both = "VACUUM; ATTACH '' AS x";
        assert!(run(both, || connection.execute_batch(both)).is_err());
        assert!(connection.execute_batch("ATTACH '' AS x").is_err(), "a VACUUM before it allows nothing");
    }
}
