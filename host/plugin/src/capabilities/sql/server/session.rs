//! A database and its transactions: what runs on which connection.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::cursor::{Asked, Cursor, Fetched, OpenCursor, Rest, check_no_cursor};
use super::super::input::InputRows;
use super::super::{Binding, Database, OpenTransaction, Rows, SqlError, Statements, Value, events_of, refused};
use super::lease::{Lease, Pool, is_lost};
use super::statement::{self, Query};
use super::{Dialect, ServerLimits};
use crate::batch::EventBatch;

/// A database of a server. Each call takes a connection of the pool.
pub(in super::super) struct Server<D: Dialect>(Arc<Pool<D>>);

/// A transaction and the connection that it is open on.
struct Transaction<D: Dialect> {
    lease: Arc<Mutex<Lease<D>>>,
    cursors: Arc<AtomicUsize>,
}

/// A connection for one call.
type Held<D> = OwnedMutexGuard<Lease<D>>;

impl<D: Dialect> Server<D> {
    /// Connects to nothing yet. Fails with what is wrong with the URL, without repeating it.
    pub(in super::super) fn new(url: &str, limits: &ServerLimits) -> Result<Self, String> {
        let options = D::options(url).map_err(|error| format!("{error}; write {}", D::URL))?;
        Ok(Self(Arc::new(Pool::new(options, limits.call_timeout, limits.connections.clone()))))
    }

    async fn hold(&self) -> Result<Held<D>, SqlError> {
        Ok(Arc::new(Mutex::new(self.0.lease().await?)).lock_owned().await)
    }

    fn open_cursor(&self) -> OpenCursor {
        OpenCursor::default()
    }
}

impl<D: Dialect> Transaction<D> {
    async fn hold(&self) -> Result<Held<D>, SqlError> {
        check_no_cursor(&self.cursors)?;
        // A cursor that was dropped just now may need a moment to let the connection go.
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
            ) -> Result<u64, SqlError> {
                let mut rows = InputRows::of_events(&bindings, &rows)?;
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
                max_bytes: usize,
            ) -> Result<EventBatch, SqlError> {
                query_events(self.hold().await?, statement, params, body, max_bytes).await
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
        let mut lease = self.0.lease().await?;
        lease.begin().await?;
        Ok(Box::new(Transaction { lease: Arc::new(Mutex::new(lease)), cursors: Arc::default() }))
    }
}

#[async_trait]
impl<D: Dialect> OpenTransaction for Transaction<D> {
    async fn commit(self: Box<Self>) -> Result<(), SqlError> {
        self.hold().await?.commit().await
    }
}

async fn execute<D: Dialect>(mut held: Held<D>, statement: String, params: Vec<Value>) -> Result<u64, SqlError> {
    held.note(&statement);
    let result = if params.is_empty() {
        statement::script::<D>(held.start(), statement).await
    } else {
        statement::execute::<D>(held.start(), &statement, &params).await
    };
    held.finish(result)
}

async fn execute_rows<D: Dialect>(
    mut held: Held<D>,
    statement: &str,
    rows: &mut InputRows<'_>,
) -> Result<u64, SqlError> {
    held.note(statement);
    let in_transaction = held.in_transaction();
    let result = statement::execute_rows::<D>(held.start(), statement, rows, in_transaction).await;
    held.finish(result)
}

async fn query_events<D: Dialect>(
    mut held: Held<D>,
    statement: String,
    params: Vec<Value>,
    body: u32,
    max_bytes: usize,
) -> Result<EventBatch, SqlError> {
    held.note(&statement);
    let bodies = statement::query_bodies::<D>(held.start(), &statement, &params, body, max_bytes).await;
    let bodies = held.finish(bodies)?;
    drop(held);
    // Takes the processor for a while.
    let events = tokio::task::spawn_blocking(move || events_of(&bodies)).await;
    events.unwrap_or_else(|error| Err(refused(format!("the events were not read: {error}"))))
}

async fn query<D: Dialect>(
    mut held: Held<D>,
    open: OpenCursor,
    statement: String,
    params: Vec<Value>,
) -> Result<Cursor, SqlError> {
    held.note(&statement);
    let prepared = Query::<D>::prepare(held.start(), &statement, &params).await;
    let query = held.finish(prepared)?;
    let columns = query.columns.clone();
    let (started, start) = oneshot::channel();
    let (ask, asked) = mpsc::channel(1);
    let serving = Serving(tokio::spawn(serve(held, query, started, asked)));
    let first = start.await.map_err(|_| refused("the query ended without an answer"))?;
    Cursor::new(columns, first, Rest::new(ask, serving), open)
}

/// Ends a query when no one wants its rows any more.
struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a query and hands out its rows, the first ones at once, the others as they are asked for: until then they wait in
/// the server, which is not read from.
async fn serve<D: Dialect>(mut held: Held<D>, query: Query<D>, started: oneshot::Sender<Fetched>, mut asked: Asked) {
    // The next statement of a transaction skips what is left; elsewhere closing the connection is less work.
    let skippable = held.in_transaction();
    let mut answer = started;
    let (connection, busy) = held.start_stream();
    let mut steps = D::run(connection, &query.statement, query.arguments);
    loop {
        *busy = true;
        let fetched = statement::fetch::<D>(&mut steps).await;
        let more = matches!(fetched, Ok((_, false)));
        let at_end = matches!(fetched, Ok((_, true)) | Err(SqlError::Database(_)));
        *busy = is_lost(&fetched) || !(at_end || skippable);
        // Whoever asked may be gone.
        let sent = answer.send(fetched);
        if !more || sent.is_err() {
            return;
        }
        let Some(next) = asked.recv().await else { return };
        answer = next;
    }
}
