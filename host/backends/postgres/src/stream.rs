//! Streams traces and events as the server sends them, with few in memory.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::{EventKey, Position, TraceEvent, TraceId, TraceQuery, Window};
use reflow_tracing_storage::streaming::BatchBudget;
use reflow_tracing_storage::{StorageError, TracePart};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row, Transaction};
use tokio::sync::mpsc;

use super::database::{Database, read};
use super::event;
use super::header::Found;
use super::layout::Layout;
use super::read::{location_of, page};
use super::select::Select;

/// Fetches the next batch of events.
const FETCH: &str = "FETCH 1000 FROM events";

/// Streams the events of a trace. Holds a connection of the pool until the stream ends or is dropped.
pub(super) fn events(database: &Database, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
    let reading = Reading { database, trace_id, on_replica: true, again: true, cursor: None, last: None };
    let parts = stream::try_unfold(reading, async |mut reading| {
        let events = reading.next_part().await?;
        Ok::<_, StorageError>((!events.is_empty()).then(|| (stream::iter(events).map(Ok), reading)))
    });
    parts.try_flatten().boxed()
}

/// A transaction with the cursor `events`.
type Cursor = Transaction<'static, Postgres>;

struct Reading<'a> {
    database: &'a Database,
    trace_id: TraceId,
    /// Whether to read from the replica, if there is one.
    on_replica: bool,
    /// Whether to retry on another connection after this one breaks.
    again: bool,
    cursor: Option<Cursor>,
    /// The last event returned.
    last: Option<EventKey>,
}

impl Reading<'_> {
    /// The next events; empty at the end.
    async fn next_part(&mut self) -> Result<Vec<TraceEvent>, StorageError> {
        loop {
            let cursor = match self.cursor.take() {
                Some(cursor) => Ok(Some(cursor)),
                None => {
                    let (_, session) = self.database.reader(&mut self.on_replica).await?;
                    match Transaction::begin(session.connection, None).await {
                        Ok(transaction) => declare(transaction, self.database.layout, self.trace_id).await,
                        Err(error) => Err(error),
                    }
                }
            };
            let fetched = match cursor {
                Ok(Some(cursor)) => fetch(cursor).await,
                // There is no such trace.
                Ok(None) => return Ok(Vec::new()),
                Err(error) => Err(error),
            };
            match fetched {
                Ok((mut events, cursor)) => {
                    let ended = events.is_empty();
                    // After a failure, another connection returns events again that were returned before.
                    events.retain(|event| self.last.is_none_or(|last| event.key() > last));
                    self.last = events.last().map(TraceEvent::key).or(self.last);
                    (self.cursor, self.again) = (Some(cursor), true);
                    if ended || !events.is_empty() {
                        return Ok(events);
                    }
                }
                Err(error) if std::mem::take(&mut self.on_replica) => self.database.replica_failed(&error),
                Err(error) if self.database.primary.is_lost(&error) && std::mem::take(&mut self.again) => {}
                Err(error) => return Err(self.database.primary.describe(error)),
            }
        }
    }
}

/// Declares the cursor; `None` if the trace is unknown.
async fn declare(mut transaction: Cursor, layout: Layout, trace_id: TraceId) -> sqlx::Result<Option<Cursor>> {
    let Some(location) = location_of(&mut transaction, trace_id).await? else { return Ok(None) };
    let select = layout.select(include_str!("sql/get_events.sql"));
    sqlx::query(AssertSqlSafe(format!("DECLARE events NO SCROLL CURSOR FOR {}", select.as_str())))
        .bind(location.sequence)
        .bind(location.placed_at)
        .execute(&mut *transaction)
        .await?;
    Ok(Some(transaction))
}

async fn fetch(mut cursor: Cursor) -> sqlx::Result<(Vec<TraceEvent>, Cursor)> {
    // Not prepared, because the next cursor of this name is another one.
    let rows = sqlx::query(FETCH).persistent(false).fetch_all(&mut *cursor).await?;
    Ok((rows.iter().map(event::read).collect::<sqlx::Result<_>>()?, cursor))
}

/// Headers per page. Their tags can make them large.
const HEADERS: usize = 200;

/// Streams the matching traces in order. Holds a connection of the pool while it is read.
pub(super) fn traces(
    database: &Arc<Database>,
    query: TraceQuery,
) -> BoxStream<'static, Result<TracePart, StorageError>> {
    let database = database.clone();
    stream::once(async move {
        // One batch is buffered while the reader works on another.
        let (batches, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            if let Err(error) = send_traces(&database, query, &batches).await {
                // The receiver may be gone; ignore the error.
                let _ = batches.send(Err(error)).await;
            }
        });
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|batch| (batch, receiver)) })
    })
    .flatten()
    .map_ok(|parts| stream::iter(parts.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

type Batches = mpsc::Sender<Result<Vec<TracePart>, StorageError>>;

async fn send_traces(database: &Database, query: TraceQuery, batches: &Batches) -> Result<(), StorageError> {
    query.validate().map_err(StorageError::InvalidArgument)?;
    let mut window = Window { limit: HEADERS, offset: 0, after: None };
    loop {
        let statement = Select::new(&query)?.page(window);
        let (found, next) = read!(database, |connection| page(connection, database.layout, &statement, window).await)?;
        window.after = found.last().map(|last| Position::of(&last.header));
        if !send_page(database, found, batches).await? || next.is_none() {
            return Ok(());
        }
    }
}

/// Sends these traces with their events. Returns whether the receiver is still there.
async fn send_page(database: &Database, found: Vec<Found>, batches: &Batches) -> Result<bool, StorageError> {
    let mut page = Page::new(found);
    let (mut on_replica, mut again) = (true, true);
    loop {
        let (reader, mut session) = database.reader(&mut on_replica).await?;
        match page.send(&mut session.connection, database.layout, batches).await {
            Ok(true) => {
                reader.rest(session);
                return Ok(true);
            }
            Ok(false) => {
                // The connection still receives rows, so it can't be reused.
                drop(session.connection.detach());
                return Ok(false);
            }
            Err(error) if std::mem::take(&mut on_replica) => database.replica_failed(&error),
            Err(error) if database.primary.is_lost(&error) && std::mem::take(&mut again) => {}
            Err(error) => return Err(database.primary.describe(error)),
        }
    }
}

/// Traces whose events are read. If the connection breaks, another one continues.
struct Page {
    found: Vec<Found>,
    /// The number of traces whose header was sent; the events of the last one may not be complete.
    headers_sent: usize,
    /// The last event read of the last of them.
    last: Option<EventKey>,
    /// Items that were read but not sent.
    batch: Vec<TracePart>,
    events: Vec<TraceEvent>,
    budget: BatchBudget,
}

impl Page {
    fn new(found: Vec<Found>) -> Self {
        Self {
            found,
            headers_sent: 0,
            last: None,
            batch: Vec::new(),
            events: Vec::new(),
            budget: BatchBudget::default(),
        }
    }

    /// Reads the remaining events. Returns whether the receiver is still there.
    async fn send(&mut self, connection: &mut PgConnection, layout: Layout, batches: &Batches) -> sqlx::Result<bool> {
        let before = self.headers_sent.saturating_sub(1);
        let left = &self.found[before..];
        let mut rows = sqlx::query(layout.select(include_str!("sql/stream_events.sql")))
            .bind(left.iter().map(|found| found.location.sequence).collect::<Vec<_>>())
            .bind(left.iter().map(|found| found.location.placed_at).collect::<Vec<_>>())
            .persistent(false)
            .fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let number = before + usize::try_from(row.try_get::<i64, _>("number")?).unwrap_or(usize::MAX);
            if number < self.headers_sent || number > self.found.len() {
                return Err(sqlx::Error::Decode("the events did not come in the order of their traces".into()));
            }
            // The traces in between have no events.
            self.queue_headers(number);
            let event = event::read(&row)?;
            if self.last.is_some_and(|last| event.key() <= last) {
                // An earlier connection returned it.
                continue;
            }
            self.last = Some(event.key());
            self.budget.take(&event);
            self.events.push(event);
            if !self.budget.is_left() && !self.send_batch(batches).await {
                return Ok(false);
            }
        }
        self.queue_headers(self.found.len());
        Ok(self.send_batch(batches).await)
    }

    /// Queues the headers up to this index.
    fn queue_headers(&mut self, number: usize) {
        if number > self.headers_sent {
            self.end_trace();
            self.last = None;
            let headers =
                self.found[self.headers_sent..number].iter().map(|found| TracePart::Header(found.header.clone()));
            self.batch.extend(headers);
            self.headers_sent = number;
        }
    }

    fn end_trace(&mut self) {
        if !self.events.is_empty() {
            self.batch.push(TracePart::Events(std::mem::take(&mut self.events)));
        }
    }

    async fn send_batch(&mut self, batches: &Batches) -> bool {
        self.end_trace();
        self.budget = BatchBudget::default();
        batches.send(Ok(std::mem::take(&mut self.batch))).await.is_ok()
    }
}
