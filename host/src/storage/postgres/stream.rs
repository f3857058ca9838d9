//! Traces and events one after another, as the server sends them: however many there are, few are in memory.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use sqlx::{PgConnection, Postgres, Row, Transaction};
use tokio::sync::mpsc;

use super::connection::{Server, retried};
use super::header::Found;
use super::select::Select;
use super::{event, page, place_of};
use crate::model::{Position, TraceEvent, TraceId, TraceQuery, Window};
use crate::storage::streaming::Room;
use crate::storage::{StorageError, TracePart};

/// Events that are fetched at a time.
const FETCH: &str = "FETCH 1000 FROM events";

/// Keeps a connection of the pool until the stream ends or is dropped.
pub(super) fn events(server: &Server, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
    let parts = stream::once(async move { open(server, trace_id).await }).map_ok(move |cursor| {
        stream::try_unfold(cursor, move |cursor| async move {
            let Some(mut transaction): Cursor = cursor else { return Ok::<_, StorageError>(None) };
            let events = fetch(&mut transaction).await.map_err(|error| server.describe(error))?;
            Ok((!events.is_empty()).then(|| (stream::iter(events).map(Ok), Some(transaction))))
        })
        .try_flatten()
    });
    parts.try_flatten().boxed()
}

type Cursor = Option<Transaction<'static, Postgres>>;

/// A transaction with the cursor `events`; `None` when there is nothing to read.
async fn open(server: &Server, trace_id: TraceId) -> Result<Cursor, StorageError> {
    let mut transaction = server.begin().await?;
    let declared = async {
        let Some(place) = place_of(&mut transaction, trace_id).await? else { return Ok(None) };
        sqlx::query(concat!("DECLARE events NO SCROLL CURSOR FOR ", include_str!("sql/get_events.sql")))
            .bind(place.sequence)
            .bind(place.placed_at)
            .execute(&mut *transaction)
            .await?;
        Ok(Some(()))
    };
    let declared = declared.await.map_err(|error| server.describe(error))?;
    Ok(declared.map(|()| transaction))
}

async fn fetch(transaction: &mut Transaction<'static, Postgres>) -> sqlx::Result<Vec<TraceEvent>> {
    // Not kept prepared: the next cursor of this name is another one.
    let rows = sqlx::query(FETCH).persistent(false).fetch_all(&mut **transaction).await?;
    rows.iter().map(event::read).collect()
}

/// Headers that are read at a time.
const HEADERS: usize = 500;

/// The traces that match, in order. Keeps a connection of the pool while it is read.
pub(super) fn traces(server: &Arc<Server>, query: TraceQuery) -> BoxStream<'static, Result<TracePart, StorageError>> {
    let server = server.clone();
    stream::once(async move {
        // One waits while another is read.
        let (pieces, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            if let Err(error) = send_traces(&server, query, &pieces).await {
                // Whoever no longer listens does not want to know.
                let _ = pieces.send(Err(error)).await;
            }
        });
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) })
    })
    .flatten()
    .map_ok(|parts| stream::iter(parts.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

type Pieces = mpsc::Sender<Result<Vec<TracePart>, StorageError>>;

async fn send_traces(server: &Server, query: TraceQuery, pieces: &Pieces) -> Result<(), StorageError> {
    query.validate().map_err(StorageError::InvalidArgument)?;
    let mut window = Window { limit: HEADERS, offset: 0, after: None };
    loop {
        let statement = Select::new(&query)?.page(window);
        let (found, next) = retried!(server, |connection| page(connection, &statement, window).await)?;
        window.after = found.last().map(|last| Position::of(&last.header));
        let mut connection = server.acquire().await?;
        match send_page(&mut connection, found, pieces).await {
            Ok(true) => {}
            Ok(false) => {
                // What the server goes on to send would have to be read before the connection is used again.
                drop(connection.detach());
                return Ok(());
            }
            Err(error) => return Err(server.describe(error)),
        }
        if next.is_none() {
            return Ok(());
        }
    }
}

/// Sends these traces with their events. Whether there is still someone who reads.
async fn send_page(connection: &mut PgConnection, found: Vec<Found>, pieces: &Pieces) -> sqlx::Result<bool> {
    let mut rows = sqlx::query(include_str!("sql/stream_events.sql"))
        .bind(found.iter().map(|found| found.place.sequence).collect::<Vec<_>>())
        .bind(found.iter().map(|found| found.place.placed_at).collect::<Vec<_>>())
        .persistent(false)
        .fetch(connection);
    let mut headers = (1_i64..).zip(found);
    let mut current = 0;
    let (mut room, mut piece, mut events) = (Room::new(), Vec::new(), Vec::new());
    while let Some(row) = rows.try_next().await? {
        let number: i64 = row.try_get(26)?;
        if number != current {
            end_trace(&mut piece, &mut events);
            // Those in between have no events.
            for (next, found) in headers.by_ref() {
                piece.push(TracePart::Header(found.header));
                if next == number {
                    break;
                }
            }
            if number < current {
                return Err(sqlx::Error::Decode("the events did not come in the order of their traces".into()));
            }
            current = number;
        }
        let event = event::read(&row)?;
        room.take(&event);
        events.push(event);
        if !room.is_left() {
            end_trace(&mut piece, &mut events);
            if pieces.send(Ok(std::mem::take(&mut piece))).await.is_err() {
                return Ok(false);
            }
            room = Room::new();
        }
    }
    end_trace(&mut piece, &mut events);
    piece.extend(headers.map(|(_, found)| TracePart::Header(found.header)));
    Ok(pieces.send(Ok(piece)).await.is_ok())
}

fn end_trace(piece: &mut Vec<TracePart>, events: &mut Vec<TraceEvent>) {
    if !events.is_empty() {
        piece.push(TracePart::Events(std::mem::take(events)));
    }
}
