//! Reads traces and events from the tables.

use std::collections::{BTreeSet, HashMap};

use futures::TryStreamExt;
use reflow_tracing_model::{FlowTrace, Position, TraceEvent, TraceId, Window};
use sqlx::{PgConnection, Row};

use super::event;
use super::header::{Found, Location};
use super::layout::Layout;
use super::select::Statement;

/// The events at a location in order.
pub(super) async fn events_at(
    connection: &mut PgConnection,
    layout: Layout,
    location: Location,
) -> sqlx::Result<Vec<TraceEvent>> {
    let sql = layout.select(include_str!("sql/get_events.sql"));
    let query = sqlx::query(sql).bind(location.sequence).bind(location.placed_at);
    query.fetch_all(connection).await?.iter().map(event::read).collect()
}

/// The location of the events of a trace, with or without a header.
pub(super) async fn location_of(connection: &mut PgConnection, trace_id: TraceId) -> sqlx::Result<Option<Location>> {
    let query = sqlx::query("SELECT seq, placed_at FROM trace WHERE trace_id = $1").bind(trace_id.0);
    query.fetch_optional(connection).await?.as_ref().map(Location::read).transpose()
}

async fn header_of(connection: &mut PgConnection, layout: Layout, trace_id: TraceId) -> sqlx::Result<Option<Found>> {
    let query = sqlx::query(layout.select(include_str!("sql/get_header.sql"))).bind(trace_id.0);
    query.fetch_optional(connection).await?.as_ref().map(Found::read).transpose()
}

/// A complete trace. The header and the events are read separately. A concurrent deletion removes all events, so a trace
/// without events is looked up again.
pub(super) async fn trace(
    connection: &mut PgConnection,
    layout: Layout,
    trace_id: TraceId,
) -> sqlx::Result<Option<FlowTrace>> {
    let mut found = header_of(connection, layout, trace_id).await?;
    while let Some(Found { header, location }) = found {
        let events = events_at(connection, layout, location).await?;
        if !events.is_empty() {
            return Ok(Some(FlowTrace { events, ..header }));
        }
        let again = header_of(connection, layout, trace_id).await?;
        match again {
            Some(again) if again.location == location => return Ok(Some(header)),
            again => found = again,
        }
    }
    Ok(None)
}

/// The traces that a statement for `window` finds, and the token of the next page, if there is one.
pub(super) async fn page(
    connection: &mut PgConnection,
    layout: Layout,
    statement: &Statement,
    window: Window,
) -> sqlx::Result<(Vec<Found>, Option<String>)> {
    let rows = statement.query(layout).fetch_all(connection).await?;
    let mut found = rows.iter().map(Found::read).collect::<sqlx::Result<Vec<_>>>()?;
    // One more trace than requested: another page follows.
    let more = found.len() > window.limit;
    found.truncate(window.limit);
    let last = found.last().filter(|_| more);
    let token = last.map(|last| Position::of(&last.header).token());
    Ok((found, token))
}

/// Adds the events of traces. Omits traces that were deleted meanwhile.
pub(super) async fn complete(
    connection: &mut PgConnection,
    layout: Layout,
    found: Vec<Found>,
) -> sqlx::Result<Vec<FlowTrace>> {
    let sequences: Vec<i64> = found.iter().map(|found| found.location.sequence).collect();
    let locations: BTreeSet<i64> = found.iter().map(|found| found.location.placed_at).collect();
    let mut events: HashMap<i64, Vec<TraceEvent>> = HashMap::new();
    let mut rows = sqlx::query(layout.select(include_str!("sql/get_events_of_traces.sql")))
        .bind(&sequences)
        .bind(locations.into_iter().collect::<Vec<_>>())
        // Not prepared, so that the server plans it for these locations and skips other partitions.
        .persistent(false)
        .fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        events.entry(row.try_get("trace")?).or_default().push(event::read(&row)?);
    }
    drop(rows);
    let without: Vec<i64> = sequences.into_iter().filter(|sequence| !events.contains_key(sequence)).collect();
    if !without.is_empty() {
        let there: Vec<i64> =
            sqlx::query_scalar("SELECT seq FROM trace WHERE seq = ANY($1)").bind(without).fetch_all(connection).await?;
        events.extend(there.into_iter().map(|sequence| (sequence, Vec::new())));
    }
    let with_events = |Found { header, location }: Found| {
        events.remove(&location.sequence).map(|events| FlowTrace { events, ..header })
    };
    Ok(found.into_iter().filter_map(with_events).collect())
}
