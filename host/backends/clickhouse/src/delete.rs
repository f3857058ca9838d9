//! Deletes traces. The server masks the rows immediately and removes them when it merges.

use chrono::{DateTime, Utc};
use reflow_tracing_model::{SortOrder, TraceId, TraceQuery, time};
use reflow_tracing_storage::StorageError;

use super::connection::Server;
use super::literal;
use super::search::Walk;
use super::select::Select;

/// With more partitions than this, one statement covers all of them.
const FEW_PARTITIONS: usize = 16;

/// Traces per statement, because the statement lists their ids.
const DELETED_AT_ONCE: usize = 10_000;

/// Deletes traces. Returns the number of traces that existed.
pub(super) async fn traces(server: &Server, trace_ids: &[TraceId]) -> Result<u64, StorageError> {
    let mut count = 0;
    for trace_ids in trace_ids.chunks(DELETED_AT_ONCE) {
        let which = format!("trace_id IN {}", literal::ids(trace_ids.iter().copied()));
        let found = format!(
            "SELECT count() FROM (SELECT trace_id FROM {} WHERE {which} UNION DISTINCT SELECT trace_id FROM {} WHERE {which})",
            server.tables.traces, server.tables.events
        );
        let found: u64 = server.row(&found).await?;
        if found > 0 {
            delete(server, &which).await?;
        }
        count += found;
    }
    Ok(count)
}

/// Deletes the traces that started before a time. Returns their number.
pub(super) async fn before(server: &Server, time: DateTime<Utc>) -> Result<u64, StorageError> {
    let Some(last) = time::nanos(time).checked_sub(1) else { return Ok(0) };
    let query = TraceQuery {
        time_range: Some((DateTime::from_timestamp_nanos(i64::MIN), DateTime::from_timestamp_nanos(last))),
        order: SortOrder::OldestFirst,
        ..TraceQuery::default()
    };
    let mut walk = Walk::new(server, Select::new(&query), None, server.ids_at_once);
    let mut count = 0;
    while let Some(found) = walk.next().await? {
        if !found.is_empty() {
            count += found.len() as u64;
            let ids = literal::ids(found.iter().map(|found| found.header.trace_id()));
            delete(server, &format!("trace_id IN {ids}")).await?;
        }
    }
    Ok(count)
}

/// Deletes all rows of the traces for which the condition holds.
///
/// The lookup is deleted before the events: events stored meanwhile are either deleted too, or stay with a new lookup entry.
async fn delete(server: &Server, which: &str) -> Result<(), StorageError> {
    let tables = &server.tables;
    for table in ["traces", "trace_lookup"] {
        server.execute(&format!("DELETE FROM {} WHERE {which}", tables.stored(table))).await?;
    }
    let partitions = format!("SELECT DISTINCT toYYYYMMDD(timestamp) FROM {} WHERE {which}", tables.events);
    let partitions: Vec<u32> = server.rows(&partitions).await?;
    let events = tables.stored("events");
    if partitions.len() > FEW_PARTITIONS {
        return server.execute(&format!("DELETE FROM {events} WHERE {which}")).await;
    }
    for partition in partitions {
        server.execute(&format!("DELETE FROM {events} IN PARTITION {partition} WHERE {which}")).await?;
    }
    Ok(())
}
