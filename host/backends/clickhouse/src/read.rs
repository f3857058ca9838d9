//! Reads traces and events from the tables.

use std::collections::HashMap;

use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
use reflow_tracing_storage::StorageError;

use super::connection::Server;
use super::event::{self, StoredEvent};
use super::header::{self, StoredHeader};
use super::literal;
use super::lookup::{self, Spans};

/// The spans of a trace; `None` if nothing of it is stored.
pub(super) async fn spans(server: &Server, trace_id: TraceId) -> Result<Option<Spans>, StorageError> {
    Ok(lookup::spans(server, [trace_id]).await?.remove(&trace_id))
}

/// The header of a trace with these spans.
pub(super) async fn header(
    server: &Server,
    trace_id: TraceId,
    spans: Spans,
) -> Result<Option<FlowTrace>, StorageError> {
    if spans.starts.is_empty() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT {} FROM {} WHERE {} AND trace_id = {} ORDER BY stored_at DESC LIMIT 1",
        header::COLUMNS,
        server.tables.traces,
        spans.starts.contains("start_time"),
        literal::id(trace_id.0)
    );
    server.rows::<StoredHeader>(&sql).await?.pop().map(StoredHeader::header).transpose()
}

/// The events of a trace with these spans.
pub(super) async fn events(server: &Server, trace_id: TraceId, spans: Spans) -> Result<Vec<TraceEvent>, StorageError> {
    if spans.events.is_empty() {
        return Ok(Vec::new());
    }
    let sql = select_events(server, spans, &format!("trace_id = {}", literal::id(trace_id.0)));
    event::in_order(server.rows(&sql).await?)
}

/// The size of the rows on the disks of the servers. Deleted rows stay until the server merges them; the estimate assumes that
/// they have the average size of their table.
pub(super) async fn bytes(server: &Server) -> Result<u64, StorageError> {
    let tables = &server.tables;
    let sql = format!(
        "SELECT table, sum(rows), sum(bytes_on_disk) FROM {} WHERE active AND database = {} GROUP BY table",
        tables.system("parts"),
        literal::text(&tables.database_name)
    );
    let mut bytes = 0.0;
    for (table, rows, on_disk) in server.rows::<(String, u64, u64)>(&sql).await? {
        let left = match table.trim_end_matches("_local") {
            "events" => Some(&tables.events),
            "traces" => Some(&tables.traces),
            _ => None,
        };
        let share = match left {
            Some(table) if rows > 0 => {
                let left: u64 = server.row(&format!("SELECT count() FROM {table}")).await?;
                (left as f64 / rows as f64).min(1.0)
            }
            _ => 1.0,
        };
        bytes += on_disk as f64 * share;
    }
    Ok(bytes as u64)
}

/// Selects the events within these spans for which the condition holds.
pub(super) fn select_events(server: &Server, spans: Spans, which: &str) -> String {
    format!(
        "SELECT {} FROM {} WHERE {which} AND {}",
        event::COLUMNS,
        server.tables.events,
        spans.events.contains("timestamp")
    )
}

/// The events of several traces.
pub(super) async fn events_of(
    server: &Server,
    traces: &HashMap<TraceId, Spans>,
) -> Result<HashMap<TraceId, Vec<TraceEvent>>, StorageError> {
    let with_events: Vec<_> = traces.iter().filter(|(_, spans)| !spans.events.is_empty()).collect();
    let mut rows: HashMap<TraceId, Vec<StoredEvent>> = HashMap::new();
    for traces in with_events.chunks(server.ids_at_once) {
        let span = Spans::of(traces.iter().map(|(_, spans)| *spans));
        let which = format!("trace_id IN {}", literal::ids(traces.iter().map(|(trace_id, _)| **trace_id)));
        for row in server.rows::<StoredEvent>(&select_events(server, span, &which)).await? {
            rows.entry(row.trace_id()).or_default().push(row);
        }
    }
    rows.into_iter().map(|(trace_id, rows)| Ok((trace_id, event::in_order(rows)?))).collect()
}
