//! A database and its transactions.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::cursor::{Cursor, FetchRequests, Fetched, OpenCursor, Rows, RunningQuery, check_no_cursor};
use super::super::database::{Database, OpenTransaction, Statements, events_of};
use super::super::error::refused;
use super::super::input::InputRows;
use super::dialect::Dialect;
use super::error::describe;
use super::lease::{Lease, State};
use super::pool::Pool;
use super::statement::{self, Query};
use crate::capabilities::connections::ConnectionBudget;
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::sql::{Binding, SqlError, Value};
use crate::contract::budget::Budget;

/// Limits of statements and connections.
pub(in super::super) struct ServerLimits {
    /// The server ends statements after this time, when the call has timed out too.
    pub call_timeout: Duration,
    pub connections: ConnectionBudget,
}

/// A database of a server. Each call leases a connection from the pool.
pub(in super::super) struct Server<D: Dialect>(Arc<Pool<D>>);

/// A transaction and the connection that it is open on.
struct Transaction<D: Dialect> {
    lease: Arc<Mutex<Lease<D>>>,
    cursors: Arc<AtomicUsize>,
}

/// The connection of one call.
type Session<D> = OwnedMutexGuard<Lease<D>>;

impl<D: Dialect> Server<D> {
    /// Does not connect yet. Fails with the problem of the URL, without showing it.
    pub(in super::super) fn new(url: &str, limits: &ServerLimits) -> Result<Self, String> {
        let options = D::options(url).map_err(|problem| format!("{problem}; write {}", D::URL))?;
        Ok(Self(Arc::new(Pool::new(options, limits.call_timeout, limits.connections.clone()))))
    }

    async fn hold(&self) -> Result<Session<D>, SqlError> {
        Ok(Arc::new(Mutex::new(Lease::of(&self.0).await?)).lock_owned().await)
    }

    fn open_cursor(&self) -> OpenCursor {
        OpenCursor::default()
    }
}

impl<D: Dialect> Transaction<D> {
    async fn hold(&self) -> Result<Session<D>, SqlError> {
        check_no_cursor(&self.cursors)?;
        // A cursor that was just dropped may still hold the connection for a moment.
        Ok(Arc::clone(&self.lease).lock_owned().await)
    }

    fn open_cursor(&self) -> OpenCursor {
        OpenCursor::of(&self.cursors)
    }
}

macro_rules! statements {
    ($session:ident) => {
        #[async_trait]
        impl<D: Dialect> Statements for $session<D> {
            async fn execute(&self, statement: String, params: Vec<Value>) -> Result<u64, SqlError> {
                execute(self.hold().await?, statement, params).await
            }

            async fn execute_many(&self, statement: String, rows: Rows) -> Result<u64, SqlError> {
                let mut rows = InputRows::of_values(&rows)?;
                execute_rows(self.hold().await?, &statement, &mut rows).await
            }

            async fn insert_batch(
                &self,
                statement: String,
                bindings: Vec<Binding>,
                rows: EventBatch,
                budget: Budget,
            ) -> Result<u64, SqlError> {
                let mut rows = InputRows::of_events(&bindings, &rows, budget)?;
                execute_rows(self.hold().await?, &statement, &mut rows).await
            }

            async fn query(&self, statement: String, params: Vec<Value>) -> Result<Cursor, SqlError> {
                query(self.hold().await?, self.open_cursor(), statement, params).await
            }

            async fn query_events(
                &self,
                statement: String,
                params: Vec<Value>,
                body: u32,
                budget: Budget,
            ) -> Result<EventBatch, SqlError> {
                query_events(self.hold().await?, statement, params, body, budget).await
            }
        }
    };
}

statements!(Server);
statements!(Transaction);

#[async_trait]
impl<D: Dialect> Database for Server<D> {
    fn dialect(&self) -> &'static str {
        D::INTERFACE_NAME
    }

    async fn begin(&self) -> Result<Box<dyn OpenTransaction>, SqlError> {
        let mut lease = Lease::of(&self.0).await?;
        lease.begin().await?;
        Ok(Box::new(Transaction { lease: Arc::new(Mutex::new(lease)), cursors: Arc::default() }))
    }

    async fn excessive_right(&self) -> Result<Option<&'static str>, SqlError> {
        let mut lease = Lease::of(&self.0).await?;
        let right = D::excessive_right(lease.start()).await.map_err(describe::<D>);
        lease.finish(right)
    }
}

#[async_trait]
impl<D: Dialect> OpenTransaction for Transaction<D> {
    async fn commit(self: Box<Self>) -> Result<(), SqlError> {
        self.hold().await?.commit().await
    }
}

async fn execute<D: Dialect>(mut session: Session<D>, statement: String, params: Vec<Value>) -> Result<u64, SqlError> {
    session.note(&statement);
    let result = if params.is_empty() {
        statement::script::<D>(session.start(), statement).await
    } else {
        statement::execute::<D>(session.start(), &statement, &params).await
    };
    session.finish(result)
}

async fn execute_rows<D: Dialect>(
    mut session: Session<D>,
    statement: &str,
    rows: &mut InputRows<'_>,
) -> Result<u64, SqlError> {
    session.note(statement);
    rows.lookup_statements().for_each(|lookup| session.note(lookup));
    let in_transaction = session.in_transaction();
    let result = statement::execute_rows::<D>(session.start(), statement, rows, in_transaction).await;
    session.finish(result)
}

async fn query_events<D: Dialect>(
    mut session: Session<D>,
    statement: String,
    params: Vec<Value>,
    body: u32,
    budget: Budget,
) -> Result<EventBatch, SqlError> {
    session.note(&statement);
    let bodies = statement::query_bodies::<D>(session.start(), &statement, &params, body, &budget).await;
    let bodies = session.finish(bodies)?;
    drop(session);
    // Decoding is CPU-bound.
    let events = tokio::task::spawn_blocking(move || events_of(&bodies, budget)).await;
    events.unwrap_or_else(|error| Err(refused(format!("decoding the events failed: {error}"))))
}

async fn query<D: Dialect>(
    mut session: Session<D>,
    open: OpenCursor,
    statement: String,
    params: Vec<Value>,
) -> Result<Cursor, SqlError> {
    session.note(&statement);
    let prepared = Query::<D>::prepare(session.start(), &statement, &params).await;
    let query = session.finish(prepared)?;
    let columns = query.columns.clone();
    let (started, start) = oneshot::channel();
    let (request, requests) = mpsc::channel(1);
    let task = AbortOnDrop(tokio::spawn(serve(session, query, started, requests)));
    let first = start.await.map_err(|_| refused("the query ended without an answer"))?;
    Cursor::new(columns, first, RunningQuery::new(request, task), open)
}

/// Aborts the task of a query when its cursor is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a query. Sends the first rows immediately and the others on request; until then they stay in the server.
async fn serve<D: Dialect>(
    mut session: Session<D>,
    query: Query<D>,
    started: oneshot::Sender<Fetched>,
    mut requests: FetchRequests,
) {
    // In a transaction, the next statement skips the remaining rows. Elsewhere, ending the session is cheaper.
    let skippable = session.in_transaction();
    let mut answer = started;
    let (connection, state) = session.start_stream();
    let mut steps = D::run(connection, &query.statement, query.arguments);
    loop {
        *state = State::Running;
        let fetched = statement::fetch::<D>(&mut steps).await;
        let more = matches!(fetched, Ok((_, false)));
        let at_end = matches!(fetched, Ok((_, true)) | Err(SqlError::Database(_)));
        *state = match State::after(&fetched) {
            State::Ready if !at_end && !skippable => State::Running,
            after => after,
        };
        // The receiver may be gone.
        let sent = answer.send(fetched);
        if !more || sent.is_err() {
            return;
        }
        let Some(next) = requests.recv().await else { return };
        answer = next;
    }
}
