//! MySQL and MariaDB.

mod harmless;
mod read;
mod url;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use sqlx::error::DatabaseError;
use sqlx::mysql::{
    MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlQueryResult, MySqlRow,
    MySqlStatement,
};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, MySql, Row, SqlSafeStr, Statement};

use super::error::{database_error, wrong_number_of_parameters};
use super::input::{Input, InputRows};
use super::repeated::Repeated;
use super::server::{Dialect, Execution, Steps, is_row_statement, one_by_one};
use crate::contract::bindings::reflow::capabilities::sql::{SqlError, Value};

/// Maximum bytes of values per statement: well below the default `max_allowed_packet`.
const BYTES_PER_STATEMENT: usize = 4 * 1024 * 1024;
/// Maximum bytes of the groups in a statement's text.
const TEXT_PER_STATEMENT: usize = 1024 * 1024;
/// Maximum parameters per statement.
const PARAMETERS_PER_STATEMENT: usize = 65_535;

impl Dialect for MySql {
    const INTERFACE_NAME: &'static str = "mysql";
    const URL: &'static str = "mysql://USER:PASSWORD@HOST:PORT/DATABASE, or mysql://USER:PASSWORD@localhost/DATABASE?socket=/FILE for a Unix socket";

    fn options(url: &str) -> Result<MySqlConnectOptions, String> {
        url::parse(url)
    }

    /// The id of the connection.
    type SessionId = u64;

    const RELEASE: &'static [&'static str] = &["ROLLBACK", "UNLOCK TABLES", "DO RELEASE_ALL_LOCKS()"];

    fn set_up<'c>(
        connection: &'c mut MySqlConnection,
        call_timeout: Duration,
    ) -> BoxFuture<'c, sqlx::Result<Self::SessionId>> {
        async move {
            let found = sqlx::raw_sql("SELECT VERSION(), CONNECTION_ID()").fetch_one(&mut *connection).await?;
            let version: String = found.try_get(0)?;
            let settings = if version.contains("MariaDB") {
                let seconds = call_timeout.as_secs().max(1);
                format!(
                    "SET SESSION max_statement_time = {}, SESSION idle_transaction_timeout = {seconds}",
                    call_timeout.as_secs_f64(),
                )
            } else {
                format!("SET SESSION max_execution_time = {}", call_timeout.as_millis().min(u128::from(u32::MAX)))
            };
            connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
            found.try_get_unchecked(1)
        }
        .boxed()
    }

    /// The protocol could reset a session, but the driver can't. So this undoes only what [`Dialect::is_undone`] lets pass.
    fn reset<'c>(connection: &'c mut MySqlConnection, _call_timeout: Duration) -> BoxFuture<'c, sqlx::Result<bool>> {
        let script = sqlx::raw_sql("DO RELEASE_ALL_LOCKS(), LAST_INSERT_ID(0)");
        connection.execute(script).map(|done| done.map(|_| true)).boxed()
    }

    fn is_undone(statement: &str) -> bool {
        is_row_statement(statement) && harmless::is_harmless(statement)
    }

    fn defines_code(statement: &str) -> bool {
        harmless::defines_code(statement)
    }

    fn runs_code(connection: &mut MySqlConnection) -> BoxFuture<'_, sqlx::Result<bool>> {
        let sql = "SELECT EXISTS (SELECT 1 FROM information_schema.triggers \
                   WHERE trigger_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')) \
                   OR EXISTS (SELECT 1 FROM information_schema.routines \
                   WHERE routine_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema'))";
        async move { connection.fetch_one(sqlx::raw_sql(sql)).await?.try_get_unchecked(0) }.boxed()
    }

    fn excessive_right(connection: &mut MySqlConnection) -> BoxFuture<'_, sqlx::Result<Option<&'static str>>> {
        async move {
            let rows = connection.fetch_all(sqlx::raw_sql("SHOW GRANTS")).await?;
            let grants = rows.iter().map(|row| row.try_get_unchecked(0)).collect::<sqlx::Result<Vec<String>>>()?;
            let of_all = |right: &str| {
                let mut rights = grants.iter().filter_map(|grant| grant.split_once(" ON *.* TO "));
                rights.any(|(rights, _)| rights.trim_start_matches("GRANT ").split(", ").any(|one| one == right))
            };
            Ok(match () {
                () if of_all("ALL PRIVILEGES") => {
                    Some("has all privileges, with which it may read and write files of the server")
                }
                () if of_all("FILE") => {
                    Some("has the privilege FILE, with which it may read and write files of the server")
                }
                () if of_all("SUPER") => Some("has the privilege SUPER"),
                () => None,
            })
        }
        .boxed()
    }

    fn end<'c>(connection: &'c mut MySqlConnection, id: &'c u64) -> BoxFuture<'c, sqlx::Result<bool>> {
        /// The server knows no such session.
        const NO_SUCH_THREAD: u16 = 1094;
        let kill = sqlx::raw_sql(AssertSqlSafe(format!("KILL {id}")));
        async move {
            match connection.execute(kill).await {
                Ok(_) => Ok(false),
                Err(error) => {
                    match error.as_database_error().and_then(|it| it.try_downcast_ref::<MySqlDatabaseError>()) {
                        Some(error) if error.number() == NO_SUCH_THREAD => Ok(true),
                        _ => Err(error),
                    }
                }
            }
        }
        .boxed()
    }

    fn prepare<'c>(
        connection: &'c mut MySqlConnection,
        statement: &Arc<str>,
    ) -> BoxFuture<'c, sqlx::Result<MySqlStatement>> {
        connection.prepare(AssertSqlSafe(Arc::clone(statement)).into_sql_str())
    }

    fn run<'c>(
        connection: &'c mut MySqlConnection,
        statement: &Arc<str>,
        arguments: MySqlArguments,
    ) -> Steps<'c, Self> {
        connection.fetch_many(sqlx::query_with(AssertSqlSafe(Arc::clone(statement)), arguments))
    }

    fn script<'c>(connection: &'c mut MySqlConnection, statements: String) -> Steps<'c, Self> {
        connection.fetch_many(sqlx::raw_sql(AssertSqlSafe(statements))).boxed()
    }

    /// Group sizes are powers of two, so that the few statements for any number of rows all stay prepared.
    fn plan<'c>(
        _connection: &'c mut MySqlConnection,
        statement: &'c str,
        rows: &'c InputRows<'_>,
    ) -> BoxFuture<'c, Result<Vec<Execution>, SqlError>> {
        let Some(repeated) = Repeated::find(statement) else {
            return futures::future::ready(Ok(one_by_one(statement, rows))).boxed();
        };
        let of_parameters = PARAMETERS_PER_STATEMENT / rows.width().max(1);
        let most = of_parameters.min(TEXT_PER_STATEMENT / repeated.group.len()).max(1);
        let (mut executions, mut start) = (Vec::<Execution>::new(), 0);
        while start < rows.count() {
            let size = 1 << rows.fitting(start, BYTES_PER_STATEMENT).min(most).ilog2();
            let statement = match executions.last() {
                Some(last) if last.rows.len() == size => Arc::clone(&last.statement),
                _ => repeated.times(size).into(),
            };
            executions.push(Execution { statement, rows: start..start + size });
            start += size;
        }
        futures::future::ready(Ok(executions)).boxed()
    }

    fn arguments(
        statement: &MySqlStatement,
        rows: &InputRows<'_>,
        range: Range<usize>,
    ) -> Result<MySqlArguments, SqlError> {
        let given = rows.width() * range.len();
        if let Some(Either::Right(wanted)) = statement.parameters()
            && wanted != given
        {
            return Err(wrong_number_of_parameters(wanted / range.len().max(1), rows.width()));
        }
        let mut arguments = MySqlArguments::default();
        for row in range {
            for value in rows.row(row) {
                let added = match value {
                    Input::Null => arguments.add(None::<&[u8]>),
                    Input::Boolean(truth) => arguments.add(*truth),
                    Input::Integer(number) => arguments.add(*number),
                    Input::Real(number) => arguments.add(*number),
                    Input::Text(text) => arguments.add(&**text),
                    Input::Blob(bytes) => arguments.add(&**bytes),
                    Input::Uuid(uuid) => arguments.add(uuid.as_bytes().as_slice()),
                };
                added.map_err(|error| SqlError::Conversion(error.to_string()))?;
            }
        }
        Ok(arguments)
    }

    fn changed(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    fn value(row: &MySqlRow, column: usize) -> Result<Value, SqlError> {
        read::value(row, column)
    }

    fn describe(error: &dyn DatabaseError) -> SqlError {
        let code = error.code().unwrap_or_default().into_owned();
        let message = error.message().to_owned();
        let number = error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
        match number {
            // A time limit of MariaDB, one of MySQL, a killed statement.
            1969 | 3024 | 1317 => SqlError::Timeout,
            // Too many connections, for the server or the user.
            1040 | 1203 | 1226 => SqlError::PoolExhausted,
            // The server is shutting down, or has ended the session.
            1053 | 1927 | 4031 => SqlError::ConnectionLost(message),
            1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 => SqlError::AccessDenied(message),
            // Retryable: lock wait timeout, deadlock, record changed since last read, lock not available.
            number => database_error(code, message, matches!(number, 1205 | 1213 | 1020 | 3572)),
        }
    }
}
