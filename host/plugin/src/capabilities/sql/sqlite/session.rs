//! A file and its transactions: what runs on which connection.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use reflow_tracing_sqlite::SqliteConfig;
use reflow_tracing_sqlite::pool::{Pool, Pooled};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::super::cursor::{Asked, Cursor, FETCH_ROWS, Fetched, OpenCursor, Rest, check_no_cursor};
use super::super::input::InputRows;
use super::super::{Binding, Database, OpenTransaction, Rows, SqlError, Statements, Value, refused};
use super::confine::{self, describe, describe_open};
use super::statement::{self, atomically};
use super::work::{Hold, Work, work};
use crate::batch::EventBatch;
use crate::capabilities::{ConnectionBudget, ConnectionPermit, TooManyConnections};

/// A file. Each call takes a connection of the pool.
pub(in super::super) struct SqliteFile {
    pool: Pool,
    /// SQLite lets one write at a time. Who waits here is let in as soon as the other is done; who waits in SQLite polls.
    writing: Arc<Semaphore>,
    connections: ConnectionBudget,
}

/// A transaction and the connection that it is open on, which the pool rolls back.
struct Transaction {
    connection: Arc<Mutex<Pooled>>,
    cursors: Arc<AtomicUsize>,
    _writing: OwnedSemaphorePermit,
    _permit: ConnectionPermit,
}

/// What runs statements: a file, on any connection of its pool, or a transaction, on its own.
trait Session: Send + Sync {
    /// A connection for one call.
    type Held: Hold;

    fn hold(&self, access: Access) -> impl Future<Output = Result<Self::Held, SqlError>> + Send;

    /// What must be taken before a write, if the call does not have it.
    fn turns(&self) -> Option<Arc<Semaphore>>;

    /// What keeps count of a cursor.
    fn open_cursor(&self) -> OpenCursor;
}

#[async_trait]
impl<S: Session> Statements for S {
    async fn execute(&self, statement: String, params: Vec<Value>) -> Result<u64, SqlError> {
        let held = self.hold(Access::Write).await?;
        work(held, move |connection| statement::execute(connection, &statement, &params)).await
    }

    async fn execute_many(&self, statement: String, rows: Rows) -> Result<u64, SqlError> {
        let held = self.hold(Access::Write).await?;
        work(held, move |connection| {
            let rows = InputRows::of_values(&rows)?;
            atomically(connection, |connection| statement::execute_rows(connection, &statement, &rows))
        })
        .await
    }

    async fn insert_batch(&self, statement: String, bindings: Vec<Binding>, rows: EventBatch) -> Result<u64, SqlError> {
        let held = self.hold(Access::Read).await?;
        let turns = self.turns();
        work(held, move |connection| {
            // Bodies are encoded while others write.
            let mut rows = InputRows::of_events(&bindings, &rows)?;
            let _turn = turns.map(|turns| Handle::current().block_on(turn(turns))).transpose()?;
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
        max_bytes: usize,
    ) -> Result<EventBatch, SqlError> {
        let held = self.hold(Access::Read).await?;
        work(held, move |connection| statement::query_events(connection, &statement, &params, body, max_bytes)).await
    }
}

/// What a call does with its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// A connection of the pool, and the right to write if the call does.
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
            Access::Write => Some(turn(Arc::clone(&self.writing)).await?),
        };
        let (connection, permit) = self.connection().await?;
        Ok(PooledCall { connection, _writing: writing, _permit: permit })
    }

    fn turns(&self) -> Option<Arc<Semaphore>> {
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
        // A cursor that was dropped just now may need a moment to let the connection go.
        Ok(Arc::clone(&self.connection).lock_owned().await)
    }

    fn turns(&self) -> Option<Arc<Semaphore>> {
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
        let writing = turn(Arc::clone(&self.writing)).await?;
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
        work(self.hold(Access::Write).await?, move |connection| {
            connection.execute_batch(sql).map_err(|error| describe(&error))
        })
        .await
    }
}

/// Waits until no one else writes.
async fn turn(turns: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, SqlError> {
    turns.acquire_owned().await.map_err(|_| refused("the database is closed"))
}

async fn open_query(
    connection: impl Hold,
    open: OpenCursor,
    statement: String,
    params: Vec<Value>,
) -> Result<Cursor, SqlError> {
    let (started, start) = oneshot::channel();
    let (ask, asked) = mpsc::channel(1);
    let serving = Work::begin(connection, move |connection| {
        serve(connection, &statement, &params, started, asked);
        Ok(())
    });
    let Ok((columns, first)) = start.await else {
        return Err(serving.done().await.err().unwrap_or_else(|| refused("the query ended without an answer")));
    };
    Cursor::new(columns, first, Rest::new(ask, serving), open)
}

/// Runs a query and hands out its rows, the first ones at once, the others as they are asked for.
fn serve(
    connection: &rusqlite::Connection,
    statement: &str,
    params: &[Value],
    started: oneshot::Sender<(Vec<String>, Fetched)>,
    mut asked: Asked,
) {
    let mut prepared = match connection.prepare_cached(statement) {
        Ok(prepared) => prepared,
        Err(error) => {
            let _ = started.send((Vec::new(), Err(describe(&error))));
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
    while more && let Some(answer) = asked.blocking_recv() {
        let fetched = statement::fetch(&mut rows, FETCH_ROWS);
        more = matches!(fetched, Ok((_, false)));
        if answer.send(fetched).is_err() {
            return;
        }
    }
}
