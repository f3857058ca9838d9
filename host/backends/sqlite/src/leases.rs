//! Which hosts receive which traces, in the tables `lease` and `held`.

use std::time::Duration;

use chrono::Utc;
use reflow_tracing_model::{TraceId, time};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use crate::column;

fn now() -> i64 {
    time::nanos(Utc::now())
}

/// Starts or extends the lease of a host. Returns whether it was valid until now.
pub(super) fn renew(transaction: &Transaction<'_>, host: Uuid, duration: Duration) -> rusqlite::Result<bool> {
    let now = now();
    let expires_at: Option<i64> = transaction
        .prepare_cached("SELECT expires_at FROM lease WHERE host = ?1")?
        .query_row([host.as_bytes()], |row| row.get(0))
        .optional()?;
    let duration = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO lease (host, expires_at) VALUES (?1, ?2)")?
        .execute(params![host.as_bytes(), now.saturating_add(duration)])?;
    transaction
        .prepare_cached("DELETE FROM lease WHERE expires_at <= ?1 AND host NOT IN (SELECT host FROM held)")?
        .execute([now])?;
    Ok(expires_at.is_some_and(|expires_at| expires_at > now))
}

/// Notes that a host holds a trace.
pub(super) fn hold(transaction: &Transaction<'_>, host: Uuid, trace_id: TraceId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO held (trace_id, host) VALUES (?1, ?2)")?
        .execute(params![trace_id.0.as_bytes(), host.as_bytes()])?;
    Ok(())
}

/// Notes that a host does not hold a trace any more. Returns whether no other host with a valid lease holds it.
pub(super) fn leave(transaction: &Transaction<'_>, host: Uuid, trace_id: TraceId) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("DELETE FROM held WHERE trace_id = ?1 AND host = ?2")?
        .execute(params![trace_id.0.as_bytes(), host.as_bytes()])?;
    let mut holders = transaction.prepare_cached(
        "SELECT 1 FROM held JOIN lease ON lease.host = held.host WHERE trace_id = ?1 AND expires_at > ?2",
    )?;
    Ok(!holders.exists(params![trace_id.0.as_bytes(), now()])?)
}

/// The traces that only hosts without a valid lease hold.
pub(super) fn abandoned(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<(Uuid, TraceId)>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(include_str!("sql/abandoned.sql"))?;
    statement.query_map(params![now(), limit], |row| Ok((column::id(row, 0)?, TraceId(column::id(row, 1)?))))?.collect()
}
