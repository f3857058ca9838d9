//! Which hosts receive which traces, in the tables `lease` and `held`.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use reflow_tracing_model::{FlowTrace, TraceId};
use reflow_tracing_storage::StorageError;
use sqlx::{Connection, Row};
use uuid::Uuid;

use super::database::{Database, retried};
use super::header::{self, HeaderRow};
use super::partition::Partitions;
use super::placement::Moved;

/// Starts or extends the lease of a host. Returns whether it was valid until now.
pub(super) async fn renew(database: &Database, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
    retried!(database, |connection| {
        sqlx::query_scalar(include_str!("sql/renew_lease.sql"))
            .bind(host)
            .bind(duration.as_secs_f64())
            .fetch_one(connection)
            .await
    })
}

/// Holds traces for a host, and stores the headers of those that have none.
pub(super) async fn begin(
    database: &Database,
    partitions: Option<&Partitions>,
    host: Uuid,
    headers: Vec<FlowTrace>,
) -> Result<(), StorageError> {
    let rows = rows(headers)?;
    let placed: Vec<i64> = rows.values().map(HeaderRow::placed_at).collect();
    let missing = retried!(database, |connection| {
        let moved = match partitions {
            None => Moved::default(),
            Some(partitions) => match partitions.ensure(connection, &placed).await? {
                Ok(moved) => moved,
                Err(missing) => return Ok(Some(missing)),
            },
        };
        let mut transaction = connection.begin().await?;
        sqlx::query("INSERT INTO held (trace_id, host) SELECT unnest($1::uuid[]), $2 ON CONFLICT DO NOTHING")
            .bind(ids(&rows))
            .bind(host)
            .execute(&mut *transaction)
            .await?;
        let absent = concat!(include_str!("sql/store_traces.sql"), "WHERE trace.start_time IS NULL");
        header::bind(sqlx::query(absent), &rows.values().collect::<Vec<_>>(), &moved)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        database.committed(connection).await?;
        Ok(None)
    })?;
    missing.map_or(Ok(()), |missing| Err(StorageError::InvalidArgument(missing.message())))
}

/// Holds traces for a host no more, and stores the headers with an end of those that have not ended and that no other host
/// holds.
pub(super) async fn leave(database: &Database, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
    let rows = rows(headers)?;
    retried!(database, |connection| {
        // One after another: of two hosts that leave a trace at the same time, the second ends it.
        let mut transaction = connection
            .begin_with(
                "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('reflow-tracing:leases:' || current_schema(), 0))",
            )
            .await?;
        sqlx::query("DELETE FROM held WHERE trace_id = ANY($1) AND host = $2")
            .bind(ids(&rows))
            .bind(host)
            .execute(&mut *transaction)
            .await?;
        let held: Vec<Uuid> = sqlx::query_scalar(
            "SELECT DISTINCT trace_id FROM held JOIN lease USING (host) WHERE trace_id = ANY($1) AND expires_at > now()",
        )
        .bind(ids(&rows))
        .fetch_all(&mut *transaction)
        .await?;
        let held: HashSet<TraceId> = held.into_iter().map(TraceId).collect();
        let is_left = |row: &&HeaderRow| row.header.end_time.is_some() && !held.contains(&row.header.trace_id);
        let left: Vec<_> = rows.values().filter(is_left).collect();
        if !left.is_empty() {
            let running = concat!(include_str!("sql/store_traces.sql"), "WHERE trace.end_time IS NULL");
            header::bind(sqlx::query(running), &left, &Moved::default()).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        database.committed(connection).await
    })
}

/// The traces that only hosts without a valid lease hold.
pub(super) async fn abandoned(database: &Database, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    retried!(database, |connection| {
        let rows = sqlx::query(include_str!("sql/abandoned.sql")).bind(limit).fetch_all(connection).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, TraceId(row.try_get(1)?)))).collect()
    })
}

/// The rows of headers without events, each trace once.
fn rows(headers: Vec<FlowTrace>) -> Result<BTreeMap<TraceId, HeaderRow>, StorageError> {
    headers.iter().try_for_each(FlowTrace::validate)?;
    headers.into_iter().map(|header| Ok((header.trace_id, HeaderRow::new(header)?))).collect()
}

fn ids(rows: &BTreeMap<TraceId, HeaderRow>) -> Vec<Uuid> {
    rows.keys().map(|trace_id| trace_id.0).collect()
}
