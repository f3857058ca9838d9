//! Cursors: the rows of an answer, fetched on demand.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::error::refused;
use super::input::Input;
use crate::contract::batch::Ended;
use crate::contract::bindings::reflow::capabilities::sql::{SqlError, Value};

/// Maximum rows per fetch.
pub(super) const FETCH_ROWS: usize = 1_000;
/// Maximum bytes per fetch: large enough that the overhead of a call does not matter, small enough for a plugin's memory.
pub(super) const FETCH_BYTES: usize = 1024 * 1024;

/// The rows of an answer. Rows that are not fetched yet stay in the database.
pub struct Cursor {
    columns: Vec<String>,
    fetched: VecDeque<Vec<Value>>,
    /// The size of these.
    bytes: usize,
    /// The running query; `None` at the end of the rows.
    query: Option<RunningQuery>,
    _open: OpenCursor,
    has_ended: bool,
}

/// Rows of values.
pub(super) type Rows = Vec<Vec<Value>>;

/// Rows, and whether they were the last.
pub(super) type Fetched = Result<(Rows, bool), SqlError>;

/// Requests for the next rows. Each carries the channel for the answer.
pub(super) type FetchRequests = mpsc::Receiver<oneshot::Sender<Fetched>>;

/// A running query. Dropping it interrupts the query.
pub(super) struct RunningQuery {
    requests: mpsc::Sender<oneshot::Sender<Fetched>>,
    _task: Box<dyn Any + Send>,
}

impl RunningQuery {
    /// `task` answers the requests until it is dropped.
    pub(super) fn new(requests: mpsc::Sender<oneshot::Sender<Fetched>>, task: impl Any + Send) -> Self {
        Self { requests, _task: Box::new(task) }
    }
}

impl Cursor {
    /// A cursor with its first rows.
    pub(super) fn new(
        columns: Vec<String>,
        first: Fetched,
        query: RunningQuery,
        open: OpenCursor,
    ) -> Result<Self, SqlError> {
        let mut cursor =
            Self { columns, fetched: VecDeque::new(), bytes: 0, query: Some(query), _open: open, has_ended: false };
        cursor.take(first)?;
        Ok(cursor)
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) async fn next(&mut self, max_rows: usize) -> Result<Rows, SqlError> {
        if self.fetched.is_empty()
            && let Some(query) = &self.query
        {
            let interrupted = || refused("the query was interrupted");
            let (answer, answered) = oneshot::channel();
            query.requests.send(answer).await.map_err(|_| interrupted())?;
            let fetched = answered.await.map_err(|_| interrupted())?;
            self.take(fetched)?;
        }
        let count = max_rows.min(self.fetched.len());
        let rows: Rows = self.fetched.drain(..count).collect();
        self.bytes -= bytes_of(&rows);
        Ok(rows)
    }

    /// The size of the rows that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the query and frees the rows at the end of the call that opened it.
    pub(crate) fn end(&mut self) {
        self.fetched = VecDeque::new();
        self.columns = Vec::new();
        self.bytes = 0;
        self.query = None;
        self._open = OpenCursor::default();
        self.has_ended = true;
    }

    /// Fails when the call that opened it has ended.
    pub(super) fn check(&self) -> Result<(), Ended> {
        if self.has_ended { Err(Ended("a cursor")) } else { Ok(()) }
    }

    fn take(&mut self, fetched: Fetched) -> Result<(), SqlError> {
        let (rows, last) = fetched.inspect_err(|_| self.query = None)?;
        self.bytes += bytes_of(&rows);
        self.fetched.extend(rows);
        if last {
            self.query = None;
            self._open = OpenCursor::default();
        }
        Ok(())
    }
}

fn bytes_of(rows: &[Vec<Value>]) -> usize {
    rows.iter().flatten().map(|value| Input::from(value).held()).sum()
}

/// Counts an open cursor until it is dropped.
#[derive(Default)]
pub(super) struct OpenCursor(Option<Arc<AtomicUsize>>);

impl OpenCursor {
    pub(super) fn of(cursors: &Arc<AtomicUsize>) -> Self {
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

/// Fails while a cursor of the transaction is open, because the transaction can't run anything else.
pub(super) fn check_no_cursor(cursors: &AtomicUsize) -> Result<(), SqlError> {
    if cursors.load(Ordering::Relaxed) > 0 {
        return Err(refused("a cursor of this transaction is open: read it to its end or drop it first"));
    }
    Ok(())
}
