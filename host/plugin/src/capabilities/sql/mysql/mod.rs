//! MySQL and MariaDB.

mod read;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlDatabaseError, MySqlQueryResult, MySqlRow, MySqlStatement};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, MySql, SqlSafeStr, Statement};

use super::error::{database_error, wrong_number_of_parameters};
use super::input::{Input, InputRows};
use super::repeated::Repeated;
use super::server::{Dialect, Execution, Steps, one_by_one};
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

    fn set_up<'c>(connection: &'c mut MySqlConnection, call_timeout: Duration) -> BoxFuture<'c, sqlx::Result<()>> {
        async move {
            let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut *connection).await?;
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
            Ok(())
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
