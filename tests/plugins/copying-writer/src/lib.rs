//! A storage plugin that copies events into its memory before it stores them in SQLite: as columns
//! (`config = { write = "columns" }`) or as typed records (`"records"`). It does nothing else.

#[macro_use]
#[path = "../../stub.rs"]
mod stub;

use reflow_tracing_plugin::sql::{Connection, Value};
use reflow_tracing_plugin::{
    Backend, Blobs, Column, Event, EventBatch, Info, Result, Stats, StorageError, Texts, export,
};

export!(CopyingWriter);

struct CopyingWriter {
    database: Connection,
    columns: bool,
}

/// Events refer to traces by number, as in the plugin `relational`.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS trace (seq INTEGER PRIMARY KEY, trace_id BLOB NOT NULL UNIQUE) STRICT;
    CREATE TABLE IF NOT EXISTS event (
        trace INTEGER NOT NULL, timestamp INTEGER NOT NULL, event_id BLOB NOT NULL, kind TEXT NOT NULL,
        actor TEXT NOT NULL, error TEXT, body BLOB NOT NULL, PRIMARY KEY (trace, timestamp, event_id)
    ) STRICT, WITHOUT ROWID;";
const STORE_TRACE: &str = "INSERT INTO trace (trace_id) VALUES (?) ON CONFLICT DO NOTHING";
const STORE_EVENT: &str = "
    INSERT INTO event (trace, timestamp, event_id, kind, actor, error, body)
    VALUES ((SELECT seq FROM trace WHERE trace_id = ?), ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING";
/// The columns of the table, in order.
const FIELDS: [&str; 7] = ["trace-id", "timestamp", "event-id", "event-type", "actor-id", "error", "body"];

impl Backend for CopyingWriter {
    fn open(config: &str) -> Result<Self> {
        let columns = match config {
            r#"{"write":"columns"}"# => true,
            r#"{"write":"records"}"# => false,
            _ => return Err(StorageError::InvalidArgument("`write` must be \"columns\" or \"records\"".into())),
        };
        let database = Connection::open("default")?;
        database.execute(SCHEMA, &[])?;
        Ok(Self { database, columns })
    }

    fn info(&self) -> Info {
        Info { name: "copying-writer".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let rows = if self.columns { of_columns(events)? } else { of_records(events) };
        let mut traces: Vec<_> = rows.iter().map(|row| vec![row[0].clone()]).collect();
        traces.dedup_by(|a, b| matches!((&a[0], &b[0]), (Value::Blob(a), Value::Blob(b)) if a == b));
        let transaction = self.database.begin()?;
        transaction.execute_many(STORE_TRACE, &traces)?;
        transaction.execute_many(STORE_EVENT, &rows)?;
        reflow_tracing_plugin::sql::Transaction::commit(transaction)?;
        Ok(())
    }

    fn stats(&self) -> Result<Stats> {
        let rows = self.database.query("SELECT count(*) FROM event", &[])?.all()?;
        let events = rows[0][0].as_integer().unwrap_or(0).unsigned_abs();
        Ok(Stats { traces: 0, events, bytes: None, oldest: None, newest: None })
    }

    stub!(store_traces, get_traces, query_traces, get_events, delete_traces, health_check);
}

fn of_records(events: &EventBatch) -> Vec<Vec<Value>> {
    let row = |event: Event| {
        vec![
            event.trace_id.into(),
            event.timestamp.into(),
            event.event_id.into(),
            event.event_type.into(),
            event.actor_id.into(),
            event.error.into(),
            event.body.into(),
        ]
    };
    events.events(0, events.len()).into_iter().map(row).collect()
}

fn of_columns(events: &EventBatch) -> Result<Vec<Vec<Value>>> {
    let columns = events.columns(&FIELDS.map(String::from)).map_err(StorageError::other)?;
    let mut rows = vec![Vec::with_capacity(columns.len()); events.len() as usize];
    columns.into_iter().for_each(|column| add(column, &mut rows));
    Ok(rows)
}

/// Appends the values of a column to the rows.
fn add(column: Column, rows: &mut [Vec<Value>]) {
    match column {
        Column::Uuids(halves) => {
            for (row, half) in rows.iter_mut().zip(halves.chunks_exact(2)) {
                row.push([half[0].to_be_bytes(), half[1].to_be_bytes()].concat().into());
            }
        }
        Column::Integers(numbers) => {
            rows.iter_mut().zip(numbers).for_each(|(row, number)| row.push(number.into()));
        }
        Column::Texts(Texts { text, ends }) => {
            let mut start = 0;
            for (row, end) in rows.iter_mut().zip(ends) {
                row.push(text[start..end as usize].into());
                start = end as usize;
            }
        }
        Column::Blobs(Blobs { data, ends }) => {
            let mut start = 0;
            for (row, end) in rows.iter_mut().zip(ends) {
                row.push(data[start..end as usize].to_vec().into());
                start = end as usize;
            }
        }
    }
}
