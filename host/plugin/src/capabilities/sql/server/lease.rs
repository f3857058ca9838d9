//! A connection in use by a call or a transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::dialect::Dialect;
use super::pool::{Connected, Pool};
use super::statement::command;
use crate::capabilities::connections::ConnectionPermit;
use crate::contract::bindings::reflow::capabilities::sql::SqlError;

/// Maximum time of a rollback. After that the server ends the session, which rolls back too.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// A leased connection. When dropped, it returns to the pool if a reset makes its session as new, and is closed otherwise.
pub(super) struct Lease<D: Dialect> {
    connected: Option<Connected<D>>,
    state: State,
    /// Whether a statement may have changed the session in a way that a reset does not undo.
    tainted: bool,
    in_transaction: bool,
    pool: Arc<Pool<D>>,
    runtime: Handle,
    permit: Option<ConnectionPermit>,
}

/// What the server does with the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for a statement.
    Ready,
    /// It may run a statement.
    Running,
    /// The connection is lost.
    Lost,
}

impl State {
    /// The state after a statement with this result.
    pub(super) fn after<T>(result: &Result<T, SqlError>) -> Self {
        if matches!(result, Err(SqlError::ConnectionLost(_))) { Self::Lost } else { Self::Ready }
    }
}

impl<D: Dialect> Lease<D> {
    /// Leases a connection. Fails when none becomes free in time.
    pub(super) async fn of(pool: &Arc<Pool<D>>) -> Result<Self, SqlError> {
        let (connected, permit) = pool.acquire().await?;
        Ok(Self {
            connected: Some(connected),
            state: State::Ready,
            tainted: false,
            in_transaction: false,
            pool: Arc::clone(pool),
            runtime: Handle::current(),
            permit: Some(permit),
        })
    }

    /// The connection, for a statement. It counts as running until [`finish`](Self::finish), because the call may be cancelled
    /// before the statement ends.
    pub(super) fn start(&mut self) -> &mut D::Connection {
        self.start_stream().0
    }

    /// The connection for a stream of rows, with its state.
    pub(super) fn start_stream(&mut self) -> (&mut D::Connection, &mut State) {
        self.state = State::Running;
        let connected = self.connected.as_mut().expect("a lease has its connection until it is dropped");
        (&mut connected.connection, &mut self.state)
    }

    /// Ends a statement with `result`.
    pub(super) fn finish<T>(&mut self, result: Result<T, SqlError>) -> Result<T, SqlError> {
        self.state = State::after(&result);
        result
    }

    /// Records what a statement of the plugin may do to the session. Call it before the statement runs.
    pub(super) fn note(&mut self, statement: &str) {
        self.tainted |= !self.pool.is_undone(statement);
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

impl<D: Dialect> Drop for Lease<D> {
    fn drop(&mut self) {
        let (Some(mut connected), permit) = (self.connected.take(), self.permit.take()) else { return };
        let (pool, runtime) = (Arc::clone(&self.pool), self.runtime.clone());
        match self.state {
            // Dropping the connection closes it.
            State::Lost => {}
            State::Running => {
                self.runtime.spawn(async move {
                    pool.end(connected).await;
                    drop(permit);
                });
            }
            State::Ready if self.tainted => {
                self.runtime.spawn(async move {
                    if timeout(RELEASE_TIMEOUT, release::<D>(&mut connected)).await.is_err() {
                        pool.end(connected).await;
                    }
                    drop(permit);
                });
            }
            State::Ready if self.in_transaction => {
                self.runtime.spawn(async move {
                    let rollback = command::<D>(&mut connected.connection, "ROLLBACK");
                    match timeout(RELEASE_TIMEOUT, rollback).await {
                        Ok(Ok(())) => pool.give_back(connected, &runtime),
                        // It may still skip the rows of a cursor.
                        _ => pool.end(connected).await,
                    }
                    drop(permit);
                });
            }
            State::Ready => pool.give_back(connected, &runtime),
        }
    }
}

/// Releases what a session holds. The server may take a moment to notice that a connection was closed.
async fn release<D: Dialect>(connected: &mut Connected<D>) {
    for statement in D::RELEASE {
        // Fails where there is nothing to release, or on a lost connection.
        let _ = command::<D>(&mut connected.connection, statement).await;
    }
}
