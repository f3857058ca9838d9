//! A connection pool. A connection is leased to a call or a transaction, and closed when its state is unknown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection as _};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::dialect::{Dialect, Options};
use super::error::describe;
use super::statement::command;
use crate::capabilities::connections::{ConnectionBudget, ConnectionPermit, TooManyConnections};
use crate::contract::bindings::reflow::capabilities::sql::SqlError;

/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time of a rollback. After that the connection is closed, which rolls back too.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are closed after this time.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// The connections of a database, opened on demand.
pub(super) struct Pool<D: Dialect> {
    options: Options<D>,
    call_timeout: Duration,
    budget: ConnectionBudget,
    /// The most recently used connection is last.
    idle: Mutex<Vec<(Instant, D::Connection)>>,
}

/// A leased connection. When dropped, it returns to the pool if it is in its initial state, and is closed otherwise.
pub(super) struct Lease<D: Dialect> {
    connection: Option<D::Connection>,
    /// Whether a statement is running, or the connection is lost.
    busy: bool,
    /// Whether a statement may have changed the session, for example its settings.
    tainted: bool,
    in_transaction: bool,
    pool: Arc<Pool<D>>,
    runtime: Handle,
    permit: Option<ConnectionPermit>,
}

impl<D: Dialect> Pool<D> {
    pub(super) fn new(options: Options<D>, call_timeout: Duration, budget: ConnectionBudget) -> Self {
        Self { options: options.disable_statement_logging(), call_timeout, budget, idle: Mutex::default() }
    }

    /// Leases a connection. Fails when none becomes free in time.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<D>, SqlError> {
        let permit = self.budget.acquire().await.map_err(|TooManyConnections| SqlError::PoolExhausted)?;
        Ok(Lease {
            connection: Some(self.connection().await?),
            busy: false,
            tainted: false,
            in_transaction: false,
            pool: Arc::clone(self),
            runtime: Handle::current(),
            permit: Some(permit),
        })
    }

    async fn connection(&self) -> Result<D::Connection, SqlError> {
        while let Some(mut connection) = self.take_idle() {
            // The server may have closed it.
            if connection.ping().await.is_ok() {
                return Ok(connection);
            }
        }
        let connect = async {
            let mut connection = self.options.connect().await?;
            D::set_up(&mut connection, self.call_timeout).await?;
            Ok(connection)
        };
        match timeout(CONNECT_TIMEOUT, connect).await {
            Ok(connected) => connected.map_err(|error| match describe::<D>(error) {
                SqlError::ConnectionLost(message) => SqlError::ConnectionLost(format!("can't connect: {message}")),
                error => error,
            }),
            Err(_) => Err(SqlError::ConnectionLost(format!(
                "can't connect: no answer within {} s",
                CONNECT_TIMEOUT.as_secs()
            ))),
        }
    }

    fn take_idle(&self) -> Option<D::Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().map(|(_, connection)| connection)
    }

    fn give_back(&self, connection: D::Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, _)| since.elapsed() < IDLE_TIME);
        idle.push((Instant::now(), connection));
    }
}

impl<D: Dialect> Lease<D> {
    /// The connection, for a statement. It counts as busy until [`finish`](Self::finish), because the call may be cancelled
    /// before the statement ends.
    pub(super) fn start(&mut self) -> &mut D::Connection {
        self.start_stream().0
    }

    /// The connection for a stream of rows, with its busy flag.
    pub(super) fn start_stream(&mut self) -> (&mut D::Connection, &mut bool) {
        self.busy = true;
        let connection = self.connection.as_mut().expect("a lease has its connection until it is dropped");
        (connection, &mut self.busy)
    }

    /// Ends a statement with `result`.
    pub(super) fn finish<T>(&mut self, result: Result<T, SqlError>) -> Result<T, SqlError> {
        self.busy = is_lost(&result);
        result
    }

    /// Records whether a statement of the plugin may change the session. Call it before the statement runs.
    pub(super) fn note(&mut self, statement: &str) {
        self.tainted |= !leaves_session_unchanged(statement);
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    pub(super) async fn begin(&mut self) -> Result<(), SqlError> {
        let begun = command::<D>(self.start(), "BEGIN").await;
        self.finish(begun)?;
        self.in_transaction = true;
        Ok(())
    }

    pub(super) async fn commit(&mut self) -> Result<(), SqlError> {
        let committed = command::<D>(self.start(), "COMMIT").await;
        self.finish(committed)?;
        self.in_transaction = false;
        Ok(())
    }
}

/// Whether the connection is unusable after `result`.
pub(super) fn is_lost<T>(result: &Result<T, SqlError>) -> bool {
    matches!(result, Err(SqlError::ConnectionLost(_)))
}

impl<D: Dialect> Drop for Lease<D> {
    fn drop(&mut self) {
        let (Some(mut connection), permit) = (self.connection.take(), self.permit.take()) else { return };
        if self.busy {
            // Its next answer is unknown, so it is closed. The server's time limit ends the running statement.
            return;
        }
        if !self.in_transaction && !self.tainted {
            self.pool.give_back(connection);
            return;
        }
        let (pool, tainted) = (Arc::clone(&self.pool), self.tainted);
        self.runtime.spawn(async move {
            if tainted {
                // Closing rolls back too. It fails only when the server is gone.
                let _ = timeout(ROLLBACK_TIMEOUT, connection.close()).await;
            } else if let Ok(Ok(())) = timeout(ROLLBACK_TIMEOUT, command::<D>(&mut connection, "ROLLBACK")).await {
                pool.give_back(connection);
            }
            drop(permit);
        });
    }
}

/// Whether `statement` is a single statement that reads or writes rows. Others may change settings, or leave a lock or a
/// transaction open.
fn leaves_session_unchanged(statement: &str) -> bool {
    const PLAIN: [&str; 8] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE"];
    let first = statement.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with("--"));
    let word = first.unwrap_or_default().split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(word)) && !statement.contains(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_about_rows_leave_the_session_unchanged() {
        for plain in ["SELECT 1", "insert INTO t VALUES (1)", "-- why\n  delete from t", "(SELECT"] {
            assert_eq!(leaves_session_unchanged(plain), plain != "(SELECT", "{plain}");
        }
        for other in ["BEGIN", "SET x = 1", "SELECT 1; BEGIN", "LOCK TABLES t WRITE", "CREATE TEMP TABLE t (a INT)", ""]
        {
            assert!(!leaves_session_unchanged(other), "{other}");
        }
    }
}
