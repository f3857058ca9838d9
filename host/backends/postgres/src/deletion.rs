//! Deletes traces while others write.
//!
//! Writers look up the location of a trace before they store its events. Until they commit, the trace must not be deleted;
//! otherwise its events would stay without a trace. So writers of large groups share an advisory lock of the schema, and a
//! deletion takes it exclusively. Locking the rows of the traces would write to each row, so only small groups do that, in the
//! single statement that stores their events.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use reflow_tracing_model::{TraceId, time};
use reflow_tracing_storage::StorageError;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::catalog::use_catalog;
use super::database::{Database, retried};
use super::header::Location;

/// Traces deleted per transaction, so that writers don't wait long.
pub(super) const AT_ONCE: usize = 500;

/// The statement that runs the lock function.
macro_rules! lock {
    ($function:literal) => {
        concat!("SELECT ", $function, "(hashtextextended('reflow-tracing:places:' || current_schema(), 0))")
    };
}

/// Prevents deletions until the lock is released or the session ends.
pub(super) const LOCK_OUT: &str = lock!("pg_advisory_lock_shared");
/// Allows deletions again.
pub(super) const LET_IN: &str = lock!("pg_advisory_unlock_shared");
/// Lets waiting deletions run, then prevents deletions again.
pub(super) const TAKE_TURNS: &str = concat!(lock!("pg_advisory_unlock_shared"), ";", lock!("pg_advisory_lock_shared"));

/// Begins a transaction that prevents deletions and sees all partitions, if there are any.
pub(super) async fn begin_writing(
    connection: &mut PgConnection,
    partitioned: bool,
) -> sqlx::Result<Transaction<'_, Postgres>> {
    const BEGIN: &str = concat!("BEGIN;", lock!("pg_advisory_xact_lock_shared"));
    const PARTITIONED: &str = concat!("BEGIN;", lock!("pg_advisory_xact_lock_shared"), ";", use_catalog!());
    // Sent in one message, to save a round trip.
    connection.begin_with(if partitioned { PARTITIONED } else { BEGIN }).await
}

/// Begins a transaction that prevents writes of large groups. It sees everything stored before.
pub(super) async fn begin(connection: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    connection.begin_with(concat!("BEGIN;", lock!("pg_advisory_xact_lock"), ";", use_catalog!())).await
}

/// Deletes traces with their events. Returns the number of traces.
pub(super) async fn traces(database: &Database, trace_ids: &[TraceId]) -> Result<u64, StorageError> {
    let mut count = 0;
    for trace_ids in trace_ids.chunks(AT_ONCE) {
        let ids: Vec<Uuid> = trace_ids.iter().map(|trace_id| trace_id.0).collect();
        count += retried!(database, |connection| {
            delete(database, connection, sqlx::query(include_str!("sql/delete_traces.sql")).bind(&ids)).await
        })?;
    }
    Ok(count)
}

/// Deletes the traces that started before a time, with their events. Returns the number of traces.
pub(super) async fn before(database: &Database, time: DateTime<Utc>) -> Result<u64, StorageError> {
    let mut count = 0;
    loop {
        let deleted = retried!(database, |connection| {
            let oldest = sqlx::query(include_str!("sql/delete_oldest.sql"));
            delete(database, connection, oldest.bind(time::nanos(time)).bind(AT_ONCE as i64)).await
        })?;
        count += deleted;
        if deleted == 0 {
            return Ok(count);
        }
    }
}

/// Runs `statement`, which deletes traces, and deletes their events. Returns the number of traces.
async fn delete(
    database: &Database,
    connection: &mut PgConnection,
    statement: Query<'_, Postgres, PgArguments>,
) -> sqlx::Result<u64> {
    let mut transaction = begin(connection).await?;
    let rows = statement.fetch_all(&mut *transaction).await?;
    let locations = rows.iter().map(Location::read).collect::<sqlx::Result<Vec<_>>>()?;
    if !locations.is_empty() {
        delete_events(&mut transaction, &locations).await?;
    }
    transaction.commit().await?;
    database.committed(connection).await?;
    Ok(locations.len() as u64)
}

/// Deletes the events of traces that this transaction has deleted. A separate statement, so that it sees what small groups
/// stored while the statement before waited for them.
async fn delete_events(connection: &mut PgConnection, locations: &[Location]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM event WHERE trace = ANY($1) AND placed_at = ANY($2)")
        .bind(locations.iter().map(|location| location.sequence).collect::<Vec<_>>())
        .bind(
            locations
                .iter()
                .map(|location| location.placed_at)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>(),
        )
        .persistent(false)
        .execute(connection)
        .await?;
    Ok(())
}
