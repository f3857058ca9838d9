//! A file and its transactions.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use reflow_tracing_sqlite::SqliteConfig;
use reflow_tracing_sqlite::pool::{Pool, Pooled};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::super::cursor::{
    Cursor, FETCH_ROWS, FetchRequests, Fetched, OpenCursor, Rows, RunningQuery, check_no_cursor,
};
use super::super::database::{Database, OpenTransaction, Statements};
use super::super::error::refused;
use super::super::input::InputRows;
use super::confine::{self, describe_open};
use super::statement::{self, atomically};
use super::work::{Hold, Work, work};
use crate::capabilities::connections::{ConnectionBudget, ConnectionPermit, TooManyConnections};
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::sql::{Binding, SqlError, Value};
use crate::contract::budget::Budget;

/// A file. Each call takes a connection from the pool.
pub(in super::super) struct SqliteFile {
    pool: Pool,
    /// SQLite allows one writer. Waiting here ends as soon as the writer is done; waiting in SQLite polls.
    writing: Arc<Semaphore>,
    connections: ConnectionBudget,
}

/// A transaction and its connection. The pool rolls it back when the connection returns.
struct Transaction {
    connection: Arc<Mutex<Pooled>>,
    cursors: Arc<AtomicUsize>,
    _writing: OwnedSemaphorePermit,
    _permit: ConnectionPermit,
}

/// Provides connections for statements: a file from its pool, a transaction its own.
trait Session: Send + Sync {
    /// A connection for one call.
    type Held: Hold;

    fn hold(&self, access: Access) -> impl Future<Output = Result<Self::Held, SqlError>> + Send;

    /// The write lock to acquire before a write; `None` when the session already holds it.
    fn write_lock(&self) -> Option<Arc<Semaphore>>;

    /// Counts a cursor as open.
    fn open_cursor(&self) -> OpenCursor;
}

#[async_trait]
impl<S: Session> Statements for S {
    async fn execute(&self, statement: String, params: Vec<Value>) -> Result<u64, SqlError> {
        let held = self.hold(Access::Write).await?;
        work(held, move |connection| confine::run(&statement, || statement::execute(connection, &statement, &params)))
            .await
    }

    async fn execute_many(&self, statement: String, rows: Rows) -> Result<u64, SqlError> {
        let held = self.hold(Access::Write).await?;
        work(held, move |connection| {
            let rows = InputRows::of_values(&rows)?;
            atomically(connection, |connection| statement::execute_rows(connection, &statement, &rows))
        })
        .await
    }

    async fn insert_batch(
        &self,
        statement: String,
        bindings: Vec<Binding>,
        rows: EventBatch,
        budget: Budget,
    ) -> Result<u64, SqlError> {
        let held = self.hold(Access::Read).await?;
        let write_lock = self.write_lock();
        work(held, move |connection| {
            // Bodies are encoded before the write lock is taken.
            let mut rows = InputRows::of_events(&bindings, &rows, budget)?;
            let _writing = write_lock.map(|lock| Handle::current().block_on(acquire(lock))).transpose()?;
            atomically(connection, |connection| {
                for lookup in 0..rows.lookups() {
                    let (statement, wanted) = rows.lookup(lookup);
                    let found = statement::look_up(connection, statement, wanted)?;
                    rows.resolve(lookup, &found);
                }
                statement::execute_rows(connection, &statement, &rows)
            })
        })
        .await
    }

    async fn query(&self, statement: String, params: Vec<Value>) -> Result<Cursor, SqlError> {
        open_query(self.hold(Access::Read).await?, self.open_cursor(), statement, params).await
    }

    async fn query_events(
        &self,
        statement: String,
        params: Vec<Value>,
        body: u32,
        budget: Budget,
    ) -> Result<EventBatch, SqlError> {
        let held = self.hold(Access::Read).await?;
        work(held, move |connection| statement::query_events(connection, &statement, &params, body, budget)).await
    }
}

/// What a call does with its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// A pooled connection, with the write lock for a write.
struct PooledCall {
    connection: Pooled,
    _writing: Option<OwnedSemaphorePermit>,
    _permit: ConnectionPermit,
}

impl Hold for PooledCall {
    fn pooled(&mut self) -> &mut Pooled {
        &mut self.connection
    }
}

impl Session for SqliteFile {
    type Held = PooledCall;

    async fn hold(&self, access: Access) -> Result<PooledCall, SqlError> {
        let writing = match access {
            Access::Read => None,
            Access::Write => Some(acquire(Arc::clone(&self.writing)).await?),
        };
        let (connection, permit) = self.connection().await?;
        Ok(PooledCall { connection, _writing: writing, _permit: permit })
    }

    fn write_lock(&self) -> Option<Arc<Semaphore>> {
        Some(Arc::clone(&self.writing))
    }

    fn open_cursor(&self) -> OpenCursor {
        OpenCursor::default()
    }
}

impl Session for Transaction {
    type Held = OwnedMutexGuard<Pooled>;

    async fn hold(&self, _access: Access) -> Result<OwnedMutexGuard<Pooled>, SqlError> {
        check_no_cursor(&self.cursors)?;
        // A cursor that was just dropped may still hold the connection for a moment.
        Ok(Arc::clone(&self.connection).lock_owned().await)
    }

    fn write_lock(&self) -> Option<Arc<Semaphore>> {
        None
    }

    fn open_cursor(&self) -> OpenCursor {
        OpenCursor::of(&self.cursors)
    }
}

impl SqliteFile {
    pub(in super::super) fn new(path: &str, connections: &ConnectionBudget) -> Self {
        let config = SqliteConfig {
            database_path: path.into(),
            max_connections: u32::try_from(connections.limit()).unwrap_or(u32::MAX),
            ..SqliteConfig::default()
        };
        Self {
            pool: Pool::new(config, confine::confine),
            writing: Arc::new(Semaphore::new(1)),
            connections: connections.clone(),
        }
    }

    async fn connection(&self) -> Result<(Pooled, ConnectionPermit), SqlError> {
        let permit = self.connections.acquire().await.map_err(|TooManyConnections| SqlError::PoolExhausted)?;
        Ok((self.pool.acquire().await.map_err(|error| describe_open(&error))?, permit))
    }
}

#[async_trait]
impl Database for SqliteFile {
    fn dialect(&self) -> &'static str {
        "sqlite"
    }

    fn file(&self) -> Option<&Path> {
        Some(self.pool.path())
    }

    async fn begin(&self) -> Result<Box<dyn OpenTransaction>, SqlError> {
        let writing = acquire(Arc::clone(&self.writing)).await?;
        let (connection, permit) = self.connection().await?;
        let connection = Arc::new(Mutex::new(connection));
        let transaction = Transaction { connection, cursors: Arc::default(), _writing: writing, _permit: permit };
        transaction.run("BEGIN IMMEDIATE").await?;
        Ok(Box::new(transaction))
    }
}

#[async_trait]
impl OpenTransaction for Transaction {
    async fn commit(self: Box<Self>) -> Result<(), SqlError> {
        self.run("COMMIT").await
    }
}

impl Transaction {
    async fn run(&self, sql: &'static str) -> Result<(), SqlError> {
        work(self.hold(Access::Write).await?, move |connection| Ok(connection.execute_batch(sql)?)).await
    }
}

/// Waits for the write lock.
async fn acquire(write_lock: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, SqlError> {
    write_lock.acquire_owned().await.map_err(|_| refused("the database is closed"))
}

async fn open_query(
    connection: impl Hold,
    open: OpenCursor,
    statement: String,
    params: Vec<Value>,
) -> Result<Cursor, SqlError> {
    let (started, start) = oneshot::channel();
    let (request, requests) = mpsc::channel(1);
    let query = Work::begin(connection, move |connection| {
        serve(connection, &statement, &params, started, requests);
        Ok(())
    });
    let Ok((columns, first)) = start.await else {
        return Err(query.done().await.err().unwrap_or_else(|| refused("the query ended without an answer")));
    };
    Cursor::new(columns, first, RunningQuery::new(request, query), open)
}

/// Runs a query. Sends the first rows immediately and the others on request.
fn serve(
    connection: &rusqlite::Connection,
    statement: &str,
    params: &[Value],
    started: oneshot::Sender<(Vec<String>, Fetched)>,
    mut requests: FetchRequests,
) {
    let mut prepared = match connection.prepare_cached(statement) {
        Ok(prepared) => prepared,
        Err(error) => {
            let _ = started.send((Vec::new(), Err(error.into())));
            return;
        }
    };
    let columns = prepared.column_names().map(str::to_owned).collect();
    if let Err(error) = statement::bind(&mut prepared, params) {
        let _ = started.send((columns, Err(error)));
        return;
    }
    let mut rows = prepared.raw_query();
    let first = statement::fetch(&mut rows, FETCH_ROWS);
    let mut more = matches!(first, Ok((_, false)));
    if started.send((columns, first)).is_err() {
        return;
    }
    while more && let Some(answer) = requests.blocking_recv() {
        let fetched = statement::fetch(&mut rows, FETCH_ROWS);
        more = matches!(fetched, Ok((_, false)));
        if answer.send(fetched).is_err() {
            return;
        }
    }
}
