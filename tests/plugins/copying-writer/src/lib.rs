//! A storage plugin that copies events into its memory before it stores them in SQLite: as columns
//! (`config = { write = "columns" }`) or as typed records (`"records"`). With `"digests"` it stores one digest of each batch
//! instead, so that its own work is nearly all there is. It does nothing else.

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
    write: Write,
}

enum Write {
    Columns,
    Records,
    Digests,
}

/// Events refer to traces by number, as in the plugin `relational`.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS trace (seq INTEGER PRIMARY KEY, trace_id BLOB NOT NULL UNIQUE) STRICT;
    CREATE TABLE IF NOT EXISTS event (
        trace INTEGER NOT NULL, timestamp INTEGER NOT NULL, event_id BLOB NOT NULL, kind TEXT NOT NULL,
        actor TEXT NOT NULL, error TEXT, body BLOB NOT NULL, PRIMARY KEY (trace, timestamp, event_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS digest (digest INTEGER NOT NULL, events INTEGER NOT NULL) STRICT;";
const STORE_DIGEST: &str = "INSERT INTO digest VALUES (?, ?)";
const STORE_TRACE: &str = "INSERT INTO trace (trace_id) VALUES (?) ON CONFLICT DO NOTHING";
const STORE_EVENT: &str = "
    INSERT INTO event (trace, timestamp, event_id, kind, actor, error, body)
    VALUES ((SELECT seq FROM trace WHERE trace_id = ?), ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING";
/// The columns of the table, in order.
const FIELDS: [&str; 7] = ["trace-id", "timestamp", "event-id", "event-type", "actor-id", "error", "body"];

impl Backend for CopyingWriter {
    fn open(config: &str) -> Result<Self> {
        let write = match config {
            r#"{"write":"columns"}"# => Write::Columns,
            r#"{"write":"records"}"# => Write::Records,
            r#"{"write":"digests"}"# => Write::Digests,
            _ => {
                let reason = "`write` must be \"columns\", \"records\" or \"digests\"";
                return Err(StorageError::InvalidArgument(reason.into()));
            }
        };
        let database = Connection::open("default")?;
        database.execute(SCHEMA, &[])?;
        Ok(Self { database, write })
    }

    fn info(&self) -> Info {
        Info { name: "copying-writer".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let rows = match self.write {
            Write::Columns => of_columns(events)?,
            Write::Records => of_records(events),
            Write::Digests => {
                self.database.execute(STORE_DIGEST, &[digest(events).into(), i64::from(events.len()).into()])?;
                return Ok(());
            }
        };
        let mut traces: Vec<_> = rows.iter().map(|row| vec![row[0].clone()]).collect();
        traces.dedup_by(|a, b| matches!((&a[0], &b[0]), (Value::Blob(a), Value::Blob(b)) if a == b));
        let transaction = self.database.begin()?;
        transaction.execute_many(STORE_TRACE, &traces)?;
        transaction.execute_many(STORE_EVENT, &rows)?;
        reflow_tracing_plugin::sql::Transaction::commit(transaction)?;
        Ok(())
    }

    fn stats(&self) -> Result<Stats> {
        let count = "SELECT (SELECT count(*) FROM event) + (SELECT coalesce(sum(events), 0) FROM digest)";
        let rows = self.database.query(count, &[])?.all()?;
        let events = rows[0][0].as_integer().unwrap_or(0).unsigned_abs();
        Ok(Stats { traces: 0, events, bytes: None, oldest: None, newest: None })
    }

    stub!(store_traces, get_traces, query_traces, get_events, delete_traces, health_check);
}

/// FNV-1a over every byte of the events' bodies, ten times.
fn digest(events: &EventBatch) -> i64 {
    let bodies: Vec<_> = events.events(0, events.len()).into_iter().map(|event| event.body).collect();
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for byte in std::iter::repeat_n(&bodies, 10).flatten().flatten() {
        digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    digest.cast_signed()
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
