//! Runs statements on blocking threads, and interrupts them when their call times out or its instance ends.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reflow_tracing_sqlite::pool::Pooled;
use rusqlite::{Connection, InterruptHandle};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use super::super::error::refused;
use super::confine::describe_open;
use crate::contract::bindings::reflow::capabilities::sql::SqlError;

/// Runs `run` with a connection, and waits for it.
pub(super) async fn work<T: Send + 'static>(
    connection: impl Hold,
    run: impl FnOnce(&Running<'_>) -> Result<T, SqlError> + Send + 'static,
) -> Result<T, SqlError> {
    Work::begin(connection, run).done().await
}

/// Running work. Dropping it interrupts the work.
pub(super) struct Work<T> {
    task: JoinHandle<Result<T, SqlError>>,
    state: Arc<Mutex<State>>,
}

/// Ensures that an interrupt hits only this work, and never later work on the same connection.
enum State {
    Waiting,
    Running(InterruptHandle),
    Over,
}

impl<T: Send + 'static> Work<T> {
    pub(super) fn begin(
        mut connection: impl Hold,
        run: impl FnOnce(&Running<'_>) -> Result<T, SqlError> + Send + 'static,
    ) -> Self {
        let state = Arc::new(Mutex::new(State::Waiting));
        let shared = Arc::clone(&state);
        let task = tokio::task::spawn_blocking(move || {
            let connection = connection.pooled().connection().map_err(|error| describe_open(&error))?;
            match &mut *lock(&shared) {
                State::Over => return Err(SqlError::Timeout),
                state => *state = State::Running(connection.get_interrupt_handle()),
            }
            let result = run(&Running { connection, state: &shared });
            // Before the connection is released for other work.
            *lock(&shared) = State::Over;
            result
        });
        Self { task, state }
    }

    pub(super) async fn done(mut self) -> Result<T, SqlError> {
        (&mut self.task).await.unwrap_or_else(|error| Err(refused(format!("running the statement failed: {error}"))))
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let State::Running(handle) = &*state {
            handle.interrupt();
        }
        *state = State::Over;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection of running work.
pub(super) struct Running<'a> {
    connection: &'a Connection,
    state: &'a Mutex<State>,
}

impl Running<'_> {
    /// Fails when nobody waits for the work any more. To call between statements, where an interrupt has no effect.
    pub(super) fn check(&self) -> Result<(), SqlError> {
        if matches!(*lock(self.state), State::Over) { Err(SqlError::Timeout) } else { Ok(()) }
    }
}

impl Deref for Running<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// A connection that can move to another thread.
pub(super) trait Hold: Send + 'static {
    fn pooled(&mut self) -> &mut Pooled;
}

impl Hold for OwnedMutexGuard<Pooled> {
    fn pooled(&mut self) -> &mut Pooled {
        self
    }
}
