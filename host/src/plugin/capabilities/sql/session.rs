//! What a plugin's handles stand for: a database, a transaction, the rows of an answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, mpsc, oneshot};

use super::grants::Database;
use super::sqlite::{describe, describe_open};
use super::statement::{self, atomically};
use super::work::{Hold, Work, work};
use super::{Binding, Rows, SqlError, Value, refused};
use crate::plugin::batch::EventBatch;
use crate::plugin::capabilities::{ConnectionPermit, TooManyConnections};
use crate::storage::sqlite::pool::Pooled;

/// A database. Each call takes a connection of the pool.
pub struct Connection {
    database: Database,
}

/// A transaction and the connection that it is open on. Dropped without a commit, it is rolled back, as soon as whatever
/// runs on it has ended.
pub struct Transaction {
    connection: Arc<Mutex<Pooled>>,
    cursors: Arc<AtomicUsize>,
    _writing: OwnedSemaphorePermit,
    _permit: ConnectionPermit,
}

/// The rows of an answer. What isn't read yet waits in the database.
pub struct Cursor {
    columns: Vec<String>,
    fetched: VecDeque<Vec<Value>>,
    /// Who has the rest; `None` when there is no more.
    rest: Option<Rest>,
    _open: OpenCursor,
}

/// A query at work, and how it is asked for more. Dropped, it is interrupted.
struct Rest {
    ask: mpsc::Sender<oneshot::Sender<Fetched>>,
    _serving: Work<()>,
}

/// Rows, and whether they were the last.
type Fetched = Result<(Rows, bool), SqlError>;

/// Rows that are fetched at a time.
const FETCH_ROWS: usize = 1_000;

/// Where statements run: in a database, on any connection of its pool, or in a transaction, on its own.
pub(super) trait Session {
    /// A connection for one call.
    type Held: Hold;

    async fn hold(&self, access: Access) -> Result<Self::Held, SqlError>;

    /// What keeps count of a cursor.
    fn open_cursor(&self) -> OpenCursor;

    async fn execute(&self, statement: String, params: Vec<Value>) -> Result<u64, SqlError> {
        let held = self.hold(Access::Write).await?;
        work(held, move |connection| statement::execute(connection, &statement, &params)).await
    }

    async fn execute_many(&self, statement: String, rows: Rows) -> Result<u64, SqlError> {
        let held = self.hold(Access::Write).await?;
        work(held, move |connection| {
            atomically(connection, |connection| statement::execute_many(connection, &statement, &rows))
        })
        .await
    }

    async fn insert_batch(&self, statement: String, bindings: Vec<Binding>, rows: EventBatch) -> Result<u64, SqlError> {
        let held = self.hold(Access::Write).await?;
        work(held, move |connection| {
            atomically(connection, |connection| statement::insert_batch(connection, &statement, &bindings, &rows))
        })
        .await
    }

    async fn query(&self, statement: String, params: Vec<Value>) -> Result<Cursor, SqlError> {
        Cursor::open(self.hold(Access::Read).await?, self.open_cursor(), statement, params).await
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
pub(super) enum Access {
    Read,
    Write,
}

/// A connection of the pool, and the right to write if the call does.
pub(super) struct PooledCall {
    connection: Pooled,
    _writing: Option<OwnedSemaphorePermit>,
    _permit: ConnectionPermit,
}

impl Hold for PooledCall {
    fn pooled(&mut self) -> &mut Pooled {
        &mut self.connection
    }
}

impl Session for Connection {
    type Held = PooledCall;

    async fn hold(&self, access: Access) -> Result<PooledCall, SqlError> {
        let writing = match access {
            Access::Read => None,
            Access::Write => Some(self.writing().await?),
        };
        let (connection, permit) = self.connection().await?;
        Ok(PooledCall { connection, _writing: writing, _permit: permit })
    }

    fn open_cursor(&self) -> OpenCursor {
        OpenCursor::default()
    }
}

impl Session for Transaction {
    type Held = OwnedMutexGuard<Pooled>;

    async fn hold(&self, _access: Access) -> Result<OwnedMutexGuard<Pooled>, SqlError> {
        if self.cursors.load(Ordering::Relaxed) > 0 {
            let message = "a cursor of this transaction is open: read it to its end or drop it first";
            return Err(refused(message));
        }
        // A cursor that was dropped just now may need a moment to let the connection go.
        Ok(Arc::clone(&self.connection).lock_owned().await)
    }

    fn open_cursor(&self) -> OpenCursor {
        OpenCursor::of(&self.cursors)
    }
}

impl Connection {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    pub(super) fn dialect(&self) -> &'static str {
        "sqlite"
    }

    pub(super) async fn begin(&self) -> Result<Transaction, SqlError> {
        let writing = self.writing().await?;
        let (connection, permit) = self.connection().await?;
        let connection = Arc::new(Mutex::new(connection));
        let transaction = Transaction { connection, cursors: Arc::default(), _writing: writing, _permit: permit };
        transaction.run("BEGIN IMMEDIATE").await?;
        Ok(transaction)
    }

    async fn connection(&self) -> Result<(Pooled, ConnectionPermit), SqlError> {
        let permit = self.database.connections.acquire().await.map_err(|TooManyConnections| SqlError::PoolExhausted)?;
        Ok((self.database.pool.acquire().await.map_err(|error| describe_open(&error))?, permit))
    }

    /// Waits until no one else writes.
    async fn writing(&self) -> Result<OwnedSemaphorePermit, SqlError> {
        let permit = Arc::clone(&self.database.writing).acquire_owned().await;
        permit.map_err(|_| refused("the database is closed"))
    }
}

impl Transaction {
    pub(super) async fn commit(self) -> Result<(), SqlError> {
        self.run("COMMIT").await
    }

    async fn run(&self, sql: &'static str) -> Result<(), SqlError> {
        work(self.hold(Access::Write).await?, move |connection| {
            connection.execute_batch(sql).map_err(|error| describe(&error))
        })
        .await
    }
}

/// Counts a cursor as open for as long as it is.
#[derive(Default)]
pub(super) struct OpenCursor(Option<Arc<AtomicUsize>>);

impl OpenCursor {
    fn of(cursors: &Arc<AtomicUsize>) -> Self {
        cursors.fetch_add(1, Ordering::Relaxed);
        Self(Some(Arc::clone(cursors)))
    }
}

impl Drop for OpenCursor {
    fn drop(&mut self) {
        if let Some(cursors) = self.0.take() {
            cursors.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Cursor {
    async fn open(
        connection: impl Hold,
        open: OpenCursor,
        statement: String,
        params: Vec<Value>,
    ) -> Result<Self, SqlError> {
        let (started, start) = oneshot::channel();
        let (ask, asked) = mpsc::channel(1);
        let serving = Work::begin(connection, move |connection| {
            serve(connection, &statement, &params, started, asked);
            Ok(())
        });
        let Ok((columns, first)) = start.await else {
            return Err(serving.done().await.err().unwrap_or_else(|| refused("the query ended without an answer")));
        };
        let rest = Some(Rest { ask, _serving: serving });
        let mut cursor = Self { columns, fetched: VecDeque::new(), rest, _open: open };
        cursor.take(first)?;
        Ok(cursor)
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) async fn next(&mut self, max_rows: usize) -> Result<Rows, SqlError> {
        if self.fetched.is_empty()
            && let Some(rest) = &self.rest
        {
            let gone = || refused("the query was interrupted");
            let (answer, answered) = oneshot::channel();
            rest.ask.send(answer).await.map_err(|_| gone())?;
            let fetched = answered.await.map_err(|_| gone())?;
            self.take(fetched)?;
        }
        let count = max_rows.min(self.fetched.len());
        Ok(self.fetched.drain(..count).collect())
    }

    fn take(&mut self, fetched: Fetched) -> Result<(), SqlError> {
        let (rows, last) = fetched.inspect_err(|_| self.rest = None)?;
        self.fetched.extend(rows);
        if last {
            self.rest = None;
            self._open = OpenCursor::default();
        }
        Ok(())
    }
}

/// Runs a query and hands out its rows, the first ones at once, the others as they are asked for.
fn serve(
    connection: &rusqlite::Connection,
    statement: &str,
    params: &[Value],
    started: oneshot::Sender<(Vec<String>, Fetched)>,
    mut asked: mpsc::Receiver<oneshot::Sender<Fetched>>,
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
