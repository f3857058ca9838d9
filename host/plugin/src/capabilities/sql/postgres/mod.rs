//! PostgreSQL.

mod bind;
mod read;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use reflow_tracing_postgres::pooler::share_sessions;
use reflow_tracing_postgres::url;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{AssertSqlSafe, Either, Executor, Postgres, Row, SqlSafeStr, Statement, TypeInfo};

use super::error::{database_error, wrong_number_of_parameters};
use super::input::InputRows;
use super::repeated::Repeated;
use super::server::{Dialect, Execution, Steps, describe, is_row_statement, one_by_one};
use crate::contract::bindings::reflow::capabilities::sql::{SqlError, Value};

/// Maximum bytes of values per statement.
const BYTES_PER_STATEMENT: usize = 16 * 1024 * 1024;

/// Prepares a statement that releases locks, and counts the statements that SQL prepared, itself among them. Planning it each time
/// would take longer than all else in a reset.
const PREPARE_RELEASE: &str = "PREPARE reflow_tracing_release AS SELECT pg_catalog.pg_advisory_unlock_all(), \
                               (SELECT count(*) FROM pg_catalog.pg_prepared_statement() AS it WHERE it.from_sql)";

impl Dialect for Postgres {
    const INTERFACE_NAME: &'static str = "postgresql";
    const URL: &'static str = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or postgresql://USER:PASSWORD@localhost/DATABASE?host=/FOLDER for a Unix socket";

    fn options(url: &str) -> Result<PgConnectOptions, String> {
        url::parse(url)
    }

    /// The process, and when it started: process ids are used again.
    type SessionId = (i32, String);

    const RELEASE: &'static [&'static str] = &["ROLLBACK", "DISCARD ALL"];

    fn set_up<'c>(
        connection: &'c mut PgConnection,
        call_timeout: Duration,
    ) -> BoxFuture<'c, sqlx::Result<Self::SessionId>> {
        let script = format!(
            "{}; {PREPARE_RELEASE}; \
             SELECT pid, backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()",
            settings(call_timeout)
        );
        async move {
            let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(script))).await?;
            Ok((row.try_get(0)?, row.try_get(1)?))
        }
        .boxed()
    }

    /// What `DISCARD ALL` does, except that statements stay prepared: the driver would prepare them again in each call.
    fn reset<'c>(connection: &'c mut PgConnection, call_timeout: Duration) -> BoxFuture<'c, sqlx::Result<bool>> {
        let script = format!(
            "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; {}; \
             EXECUTE reflow_tracing_release",
            settings(call_timeout)
        );
        async move {
            let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(script))).await?;
            let prepared: i64 = row.try_get(1)?;
            Ok(prepared == 1)
        }
        .boxed()
    }

    fn is_undone(statement: &str) -> bool {
        is_row_statement(statement)
    }

    fn share_sessions<'c>(one: &'c mut PgConnection, other: &'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<bool>> {
        share_sessions(one, other).boxed()
    }

    fn excessive_right(connection: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<Option<&'static str>>> {
        // Nobody is a member of a role that an older server does not have.
        let sql = "SELECT bool_or(rolsuper AND rolname = current_user), bool_or(rolname = 'pg_execute_server_program'), \
                   bool_or(rolname IN ('pg_read_server_files', 'pg_write_server_files')) \
                   FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'USAGE')";
        async move {
            let row = connection.fetch_one(sqlx::raw_sql(sql)).await?;
            let is = |column: usize| row.try_get::<bool, _>(column);
            Ok(match (is(0)?, is(1)?, is(2)?) {
                (true, _, _) => Some("is a superuser, who may run programs on the server and read its files"),
                (_, true, _) => Some("may run programs on the server"),
                (_, _, true) => Some("may read or write files of the server"),
                _ => None,
            })
        }
        .boxed()
    }

    fn end<'c>(
        connection: &'c mut PgConnection,
        (pid, start): &'c Self::SessionId,
    ) -> BoxFuture<'c, sqlx::Result<bool>> {
        // The statement can't prevent this, as it could a cancellation.
        let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
                   WHERE pid = $1 AND backend_start = $2::timestamptz";
        async move { Ok(sqlx::query(sql).bind(pid).bind(start).fetch_optional(connection).await?.is_none()) }.boxed()
    }

    fn prepare<'c>(connection: &'c mut PgConnection, statement: &Arc<str>) -> BoxFuture<'c, sqlx::Result<PgStatement>> {
        connection.prepare(AssertSqlSafe(Arc::clone(statement)).into_sql_str())
    }

    fn run<'c>(connection: &'c mut PgConnection, statement: &Arc<str>, arguments: PgArguments) -> Steps<'c, Self> {
        connection.fetch_many(sqlx::query_with(AssertSqlSafe(Arc::clone(statement)), arguments))
    }

    fn script<'c>(connection: &'c mut PgConnection, statements: String) -> Steps<'c, Self> {
        connection.fetch_many(sqlx::raw_sql(AssertSqlSafe(statements))).boxed()
    }

    fn plan<'c>(
        connection: &'c mut PgConnection,
        statement: &'c str,
        rows: &'c InputRows<'_>,
    ) -> BoxFuture<'c, Result<Vec<Execution>, SqlError>> {
        let Some(repeated) = Repeated::find(statement) else {
            return futures::future::ready(Ok(one_by_one(statement, rows))).boxed();
        };
        async move {
            if rows.count() == 0 {
                return Ok(Vec::new());
            }
            let of_one_row = repeated.times(1).into();
            let prepared = Self::prepare(connection, &of_one_row).await.map_err(describe::<Self>)?;
            let types = parameter_types(&prepared);
            if types.len() != rows.width() {
                return Err(wrong_number_of_parameters(types.len(), rows.width()));
            }
            let statement: Arc<str> = unnested(&repeated, types).into();
            let (mut executions, mut start) = (Vec::new(), 0);
            while start < rows.count() {
                let end = start + rows.fitting(start, BYTES_PER_STATEMENT);
                executions.push(Execution { statement: Arc::clone(&statement), rows: start..end });
                start = end;
            }
            Ok(executions)
        }
        .boxed()
    }

    fn arguments(statement: &PgStatement, rows: &InputRows<'_>, range: Range<usize>) -> Result<PgArguments, SqlError> {
        bind::arguments(parameter_types(statement), rows, range)
    }

    fn changed(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn value(row: &PgRow, column: usize) -> Result<Value, SqlError> {
        read::value(row, column)
    }

    fn describe(error: &dyn DatabaseError) -> SqlError {
        let code = error.code().unwrap_or_default();
        let message = error.message().to_owned();
        match &*code {
            // query_canceled
            "57014" => SqlError::Timeout,
            // Too many connections, for the server, the database or the user.
            "53300" => SqlError::PoolExhausted,
            // The server is shutting down, or has ended the session.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => SqlError::ConnectionLost(message),
            "42501" => SqlError::AccessDenied(message),
            code if code.starts_with("08") => SqlError::ConnectionLost(message),
            code if code.starts_with("28") => SqlError::AccessDenied(message),
            // serialization_failure, deadlock_detected, lock_not_available
            code => database_error(code.into(), message, matches!(code, "40001" | "40P01" | "55P03")),
        }
    }
}

fn settings(call_timeout: Duration) -> String {
    let millis = call_timeout.as_millis().min(i32::MAX as u128);
    format!(
        "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}; SET client_encoding = 'UTF8'"
    )
}

fn parameter_types(statement: &PgStatement) -> &[PgTypeInfo] {
    match statement.parameters() {
        Some(Either::Left(types)) => types,
        _ => &[],
    }
}

/// The statement for any number of rows: it takes the values of each parameter as an array.
fn unnested(repeated: &Repeated<'_>, types: &[PgTypeInfo]) -> String {
    let before = repeated.before.trim_end();
    let before = match before.len().checked_sub("VALUES".len()).and_then(|start| before.split_at_checked(start)) {
        Some((before, values)) if values.eq_ignore_ascii_case("VALUES") => before,
        _ => before,
    };
    let names: Vec<_> = (1..=types.len()).map(|number| format!("p{number}")).collect();
    let arrays: Vec<_> =
        types.iter().enumerate().map(|(index, of)| format!("${}::{}[]", index + 1, of.name())).collect();
    let inner = &repeated.group[1..repeated.group.len() - 1];
    format!(
        "{before} SELECT {} FROM unnest({}) AS given({}) {}",
        with_columns(inner),
        arrays.join(", "),
        names.join(", "),
        repeated.after
    )
}

/// Replaces `$1` by `given.p1` in the expressions.
fn with_columns(expressions: &str) -> String {
    let mut parts = expressions.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let number = part.bytes().take_while(u8::is_ascii_digit).count();
        text.push_str(if number > 0 { "given.p" } else { "$" });
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_for_a_row_becomes_one_for_all() {
        let repeated =
            Repeated::find("INSERT INTO t (a, b) VALUES ($1, $2 || 'x'), ... ON CONFLICT DO NOTHING").unwrap();
        let types = [PgTypeInfo::with_name("INT8"), PgTypeInfo::with_name("TEXT")];
        assert_eq!(
            unnested(&repeated, &types),
            "INSERT INTO t (a, b)  SELECT given.p1, given.p2 || 'x' FROM unnest($1::INT8[], $2::TEXT[]) \
             AS given(p1, p2)  ON CONFLICT DO NOTHING"
        );
    }
}
