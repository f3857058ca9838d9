//! Deleting, beside those who write.
//!
//! Events are stored with the place of their trace, which was looked up before. Until they are committed that trace must not be
//! deleted: its events would stay, and nobody would find them. So those who write much share a lock of the schema, which who
//! deletes holds alone. Locking the rows of the traces instead would write to each of them; only small groups do, in the
//! statement that stores their events, which is their only one.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use reflow_tracing_model::{TraceId, time};
use reflow_tracing_storage::StorageError;
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::connection::{Server, retried};
use super::header::Place;
use super::partition::use_catalog;

/// Traces that are deleted in one transaction: writers don't wait for long.
pub(super) const AT_ONCE: usize = 500;

/// The statement that runs the function on the lock.
macro_rules! lock {
    ($function:literal) => {
        concat!("SELECT ", $function, "(hashtextextended('reflow-tracing:places:' || current_schema(), 0))")
    };
}

/// Keeps others from deleting for as long as the session lasts.
pub(super) const LOCK_OUT: &str = lock!("pg_advisory_lock_shared");
/// Lets others delete again.
pub(super) const LET_IN: &str = lock!("pg_advisory_unlock_shared");
/// Lets those delete who wait to, and keeps them from it again.
pub(super) const TAKE_TURNS: &str = concat!(lock!("pg_advisory_unlock_shared"), ";", lock!("pg_advisory_lock_shared"));

/// Begins a transaction in which no trace is deleted by others, and which sees all partitions if there are any.
pub(super) async fn begin_writing(
    connection: &mut PgConnection,
    partitioned: bool,
) -> sqlx::Result<Transaction<'_, Postgres>> {
    const BEGIN: &str = concat!("BEGIN;", lock!("pg_advisory_xact_lock_shared"));
    const PARTITIONED: &str = concat!("BEGIN;", lock!("pg_advisory_xact_lock_shared"), ";", use_catalog!());
    // In the same message: it takes no further round trip.
    connection.begin_with(if partitioned { PARTITIONED } else { BEGIN }).await
}

/// Begins a transaction in which nobody stores many events. It sees all that were stored before.
pub(super) async fn begin(connection: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    connection.begin_with(concat!("BEGIN;", lock!("pg_advisory_xact_lock"), ";", use_catalog!())).await
}

/// Deletes traces with their events. How many there were.
pub(super) async fn traces(server: &Server, trace_ids: &[TraceId]) -> Result<u64, StorageError> {
    let mut count = 0;
    for trace_ids in trace_ids.chunks(AT_ONCE) {
        let ids: Vec<Uuid> = trace_ids.iter().map(|trace_id| trace_id.0).collect();
        count += retried!(server, |connection| {
            let mut transaction = begin(connection).await?;
            let rows =
                sqlx::query(include_str!("sql/delete_traces.sql")).bind(&ids).fetch_all(&mut *transaction).await?;
            let places = rows.iter().map(Place::read).collect::<sqlx::Result<Vec<_>>>()?;
            if !places.is_empty() {
                delete_events(&mut transaction, &places).await?;
            }
            transaction.commit().await?;
            server.committed(connection).await?;
            Ok(places.len() as u64)
        })?;
    }
    Ok(count)
}

/// Deletes the traces that started before a time, with their events. How many there were.
pub(super) async fn before(server: &Server, time: DateTime<Utc>) -> Result<u64, StorageError> {
    let mut count = 0;
    loop {
        let deleted: u64 = retried!(server, |connection| {
            let mut transaction = begin(connection).await?;
            let rows = sqlx::query(include_str!("sql/delete_oldest.sql"))
                .bind(time::nanos(time))
                .bind(AT_ONCE as i64)
                .fetch_all(&mut *transaction)
                .await?;
            let places = rows.iter().map(Place::read).collect::<sqlx::Result<Vec<_>>>()?;
            delete_events(&mut transaction, &places).await?;
            transaction.commit().await?;
            server.committed(connection).await?;
            Ok(places.len() as u64)
        })?;
        count += deleted;
        if deleted == 0 {
            return Ok(count);
        }
    }
}

/// Deletes the events of traces that this transaction has deleted. A statement of its own, which sees what small groups stored
/// while the one before it waited for them.
async fn delete_events(connection: &mut PgConnection, places: &[Place]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM event WHERE trace = ANY($1) AND placed_at = ANY($2)")
        .bind(places.iter().map(|place| place.sequence).collect::<Vec<_>>())
        .bind(places.iter().map(|place| place.placed_at).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>())
        .persistent(false)
        .execute(connection)
        .await?;
    Ok(())
}
