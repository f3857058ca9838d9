//! The events of a trace one after another, from a cursor: however many there are, few are in memory.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use sqlx::{Postgres, Transaction};

use super::connection::Server;
use super::{event, place_of};
use crate::model::{TraceEvent, TraceId};
use crate::storage::StorageError;

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
