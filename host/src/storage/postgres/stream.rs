//! The events of a trace one after another, from a cursor: however many there are, few are in memory.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use sqlx::{Postgres, Transaction};

use super::connection::Server;
use super::{event, place_of};
use crate::model::{EventKey, TraceEvent, TraceId};
use crate::storage::StorageError;

/// Events that are fetched at a time.
const FETCH: &str = "FETCH 1000 FROM events";

/// Keeps a connection of the pool until the stream ends or is dropped.
pub(super) fn events(server: &Server, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
    let reading = Reading { server, trace_id, on_replica: true, again: true, cursor: None, last: None };
    let parts = stream::try_unfold(reading, async |mut reading| {
        let events = reading.next_part().await?;
        Ok::<_, StorageError>((!events.is_empty()).then(|| (stream::iter(events).map(Ok), reading)))
    });
    parts.try_flatten().boxed()
}

/// A transaction with the cursor `events`.
type Cursor = Transaction<'static, Postgres>;

struct Reading<'a> {
    server: &'a Server,
    trace_id: TraceId,
    /// Whether the replica is read, if there is one.
    on_replica: bool,
    /// Whether a dead connection may be replaced by another one.
    again: bool,
    cursor: Option<Cursor>,
    /// The last event that was given.
    last: Option<EventKey>,
}

impl Reading<'_> {
    /// The next events; none at the end.
    async fn next_part(&mut self) -> Result<Vec<TraceEvent>, StorageError> {
        loop {
            let cursor = match self.cursor.take() {
                Some(cursor) => Ok(Some(cursor)),
                None => {
                    let (_, session) = self.server.reader(&mut self.on_replica).await?;
                    match Transaction::begin(session.connection, None).await {
                        Ok(transaction) => declare(transaction, self.trace_id).await,
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
                    // Another connection, which replaced one that failed, tells them once more.
                    events.retain(|event| self.last.is_none_or(|last| event.key() > last));
                    self.last = events.last().map(TraceEvent::key).or(self.last);
                    (self.cursor, self.again) = (Some(cursor), true);
                    if ended || !events.is_empty() {
                        return Ok(events);
                    }
                }
                Err(error) if std::mem::take(&mut self.on_replica) => self.server.replica_failed(&error),
                Err(error) if self.server.is_lost(&error) && std::mem::take(&mut self.again) => {}
                Err(error) => return Err(self.server.describe(error)),
            }
        }
    }
}

/// Makes the cursor; `None` when the trace is unknown.
async fn declare(mut transaction: Cursor, trace_id: TraceId) -> sqlx::Result<Option<Cursor>> {
    let Some(place) = place_of(&mut transaction, trace_id).await? else { return Ok(None) };
    sqlx::query(concat!("DECLARE events NO SCROLL CURSOR FOR ", include_str!("sql/get_events.sql")))
        .bind(place.sequence)
        .bind(place.placed_at)
        .execute(&mut *transaction)
        .await?;
    Ok(Some(transaction))
}

async fn fetch(mut cursor: Cursor) -> sqlx::Result<(Vec<TraceEvent>, Cursor)> {
    // Not kept prepared: the next cursor of this name is another one.
    let rows = sqlx::query(FETCH).persistent(false).fetch_all(&mut *cursor).await?;
    Ok((rows.iter().map(event::read).collect::<sqlx::Result<_>>()?, cursor))
}
