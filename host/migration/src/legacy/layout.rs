use rusqlite::Connection;

/// The columns of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub traces: Traces,
    pub events: Events,
}

/// Where the header of a trace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traces {
    /// `traces.data` is the trace with its events.
    Whole,
    /// Each field has its columns.
    Columns,
}

/// Where the events outside of whole traces are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Events {
    /// `trace_events.data` is the event.
    Whole,
    /// Each field has its column.
    Columns,
}

impl Layout {
    /// `None` if no server of Reflow's created the tables.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let application_id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let (traces, events) = (columns(connection, "traces")?, columns(connection, "trace_events")?);
        let has = |columns: &[String], wanted: &[&str]| wanted.iter().all(|name| columns.iter().any(|is| is == name));
        // A file of this program has views with these names and other columns.
        if application_id != 0
            || !has(&traces, &["trace_id", "flow_id", "execution_id", "start_time", "end_time", "status"])
            || !has(&events, &["trace_id", "event_id", "timestamp", "event_type", "actor_id", "data"])
        {
            return Ok(None);
        }
        let events = if has(&events, &["causality"]) { Events::Columns } else { Events::Whole };
        let version = ["version_major", "version_minor", "version_patch", "version_git_hash", "version_timestamp"];
        let traces = if has(&traces, &["data"]) {
            Traces::Whole
        } else if has(&traces, &version) && has(&traces, &["metadata"]) {
            Traces::Columns
        } else {
            return Ok(None);
        };
        Ok(Some(Self { traces, events }))
    }
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection.prepare("SELECT name FROM pragma_table_info(?1)")?.query_map([table], |row| row.get(0))?.collect()
}
