//! Deleting: the server masks the rows at once and removes them when it merges.

use chrono::{DateTime, Utc};

use super::connection::Server;
use super::literal;
use super::search;
use super::select::Select;
use crate::model::{SortOrder, TraceId, TraceQuery, time};
use crate::storage::StorageError;

/// With more partitions than this, one statement goes through all of them.
const FEW_PARTITIONS: usize = 16;

/// Deletes a trace. Whether there was anything of it.
pub(super) async fn trace(server: &Server, trace_id: TraceId) -> Result<bool, StorageError> {
    let tables = &server.tables;
    let of = |table: &str| format!("SELECT count() FROM {table} WHERE trace_id = {}", literal::id(trace_id.0));
    let (headers, events) = (of(&tables.traces), of(&tables.events));
    let (headers, events) = tokio::try_join!(server.row::<u64>(&headers), server.row::<u64>(&events))?;
    if headers + events == 0 {
        return Ok(false);
    }
    traces(server, &[trace_id]).await?;
    Ok(true)
}

/// Deletes the traces that started before a time. How many there were.
pub(super) async fn before(server: &Server, time: DateTime<Utc>) -> Result<u64, StorageError> {
    let Some(last) = time::nanos(time).checked_sub(1) else { return Ok(0) };
    let query = TraceQuery {
        time_range: Some((DateTime::from_timestamp_nanos(i64::MIN), DateTime::from_timestamp_nanos(last))),
        order: SortOrder::OldestFirst,
        ..TraceQuery::default()
    };
    let mut chunks = search::Ids::new(server, Select::new(&query));
    let mut count = 0;
    while let Some(found) = chunks.next().await? {
        traces(server, &found).await?;
        count += found.len() as u64;
    }
    Ok(count)
}

/// Deletes everything of these traces.
///
/// The lookup before the events: what is stored meanwhile is either deleted as well or stays with an entry of its own.
async fn traces(server: &Server, trace_ids: &[TraceId]) -> Result<(), StorageError> {
    if trace_ids.is_empty() {
        return Ok(());
    }
    let tables = &server.tables;
    let which = format!("trace_id IN {}", literal::ids(trace_ids.iter().copied()));
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
