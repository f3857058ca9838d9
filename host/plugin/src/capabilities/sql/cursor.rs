//! The rows of an answer, handed out as they are asked for.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::{Rows, SqlError, Value, refused};

/// Rows that are fetched at a time.
pub(super) const FETCH_ROWS: usize = 1_000;
/// Bytes that are fetched at a time: enough that calls don't matter, little enough for the memory of a small plugin.
pub(super) const FETCH_BYTES: usize = 1024 * 1024;

/// The rows of an answer. What isn't read yet waits in the database.
pub struct Cursor {
    columns: Vec<String>,
    fetched: VecDeque<Vec<Value>>,
    /// Who has the rest; `None` when there is no more.
    rest: Option<Rest>,
    _open: OpenCursor,
}

/// Rows, and whether they were the last.
pub(super) type Fetched = Result<(Rows, bool), SqlError>;

/// Asks for the next rows, and says where to send them.
pub(super) type Asked = mpsc::Receiver<oneshot::Sender<Fetched>>;

/// A query at work, and how it is asked for more. Dropped, it is interrupted.
pub(super) struct Rest {
    ask: mpsc::Sender<oneshot::Sender<Fetched>>,
    _serving: Box<dyn Any + Send>,
}

impl Rest {
    /// Of what serves until it is dropped.
    pub(super) fn new(ask: mpsc::Sender<oneshot::Sender<Fetched>>, serving: impl Any + Send) -> Self {
        Self { ask, _serving: Box::new(serving) }
    }
}

impl Cursor {
    /// A cursor with its first rows.
    pub(super) fn new(columns: Vec<String>, first: Fetched, rest: Rest, open: OpenCursor) -> Result<Self, SqlError> {
        let mut cursor = Self { columns, fetched: VecDeque::new(), rest: Some(rest), _open: open };
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

/// Counts a cursor as open for as long as it is.
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

/// That a transaction whose cursor is open can't run anything else.
pub(super) fn check_no_cursor(cursors: &AtomicUsize) -> Result<(), SqlError> {
    if cursors.load(Ordering::Relaxed) > 0 {
        return Err(refused("a cursor of this transaction is open: read it to its end or drop it first"));
    }
    Ok(())
}

/// About as many bytes as a value takes.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 8,
    }
}
