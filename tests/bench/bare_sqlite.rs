//! The floor of SQLite's paths: the same statements on the same tables and indexes, with nothing around them.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use reflow_tracing::TraceId;
use reflow_tracing::storage::{SqliteConfig, SqliteStorage, StorageBackend};
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::workload::Batch;

const STORE_EVENT: &str = include_str!("../../host/backends/sqlite/src/sql/store_event.sql");
const GET_EVENTS: &str = include_str!("../../host/backends/sqlite/src/sql/get_events.sql");

/// A connection, set up as the backend sets up its own.
pub struct BareSqlite {
    connection: Connection,
}

impl BareSqlite {
    /// In a new file with the backend's tables.
    pub async fn create(file: &Path) -> Result<Self> {
        SqliteStorage::new(file).await?.close().await?;
        Self::open(file)
    }

    /// In a file of the backend's.
    pub fn open(file: &Path) -> Result<Self> {
        let connection = Connection::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        // The floor uses the same settings as the backend.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let cache_kib = u64::from(SqliteConfig::default().cache_size_mb) * 1024;
        connection.execute_batch(&format!("PRAGMA synchronous = normal; PRAGMA cache_size = -{cache_kib}"))?;
        Ok(Self { connection })
    }

    /// Stores rows, `size` a transaction.
    pub fn store(&mut self, rows: &[Row], size: usize) -> Result<()> {
        for batch in rows.chunks(size) {
            let transaction = self.connection.transaction()?;
            {
                let mut store_trace =
                    transaction.prepare_cached("INSERT INTO trace (seq, trace_id) VALUES (?1, ?2)")?;
                let mut store_event = transaction.prepare_cached(STORE_EVENT)?;
                for row in batch {
                    if let Some(trace) = &row.trace {
                        store_trace.execute(params_from_iter(trace))?;
                    }
                    store_event.execute(params_from_iter(&row.event))?;
                }
            }
            transaction.commit()?;
        }
        Ok(())
    }

    /// Reads every column of a trace's header and events. The number of events.
    pub fn read(&mut self, trace_id: TraceId) -> Result<usize> {
        let transaction = self.connection.transaction()?;
        let mut get_trace = transaction.prepare_cached("SELECT * FROM trace WHERE trace_id = ?1")?;
        let sequence = get_trace.query_row([trace_id.as_uuid().as_bytes()], |row| {
            read_columns(row)?;
            row.get::<_, i64>("seq")
        })?;
        let mut events = 0;
        let mut get_events = transaction.prepare_cached(GET_EVENTS)?;
        let mut rows = get_events.query([sequence])?;
        while let Some(row) = rows.next()? {
            read_columns(row)?;
            events += 1;
        }
        Ok(events)
    }

    /// The events that are stored.
    pub fn events(&self) -> Result<u64> {
        Ok(self.connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?)
    }
}

fn read_columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<()> {
    for column in 0..row.as_ref().column_count() {
        std::hint::black_box(row.get::<_, Value>(column)?);
    }
    Ok(())
}

/// What an event adds to a file.
pub struct Row {
    /// The row of its trace, for the first event of it.
    trace: Option<[Value; 2]>,
    /// The values that `store_event.sql` takes.
    event: Vec<Value>,
}

/// Lets the backend store events and reads their rows back, because the encoding is private to the backend.
pub struct Rows {
    storage: SqliteStorage,
    connection: Connection,
    select: String,
    last_trace: i64,
}

impl Rows {
    /// With a new file to work in.
    pub async fn new(file: &Path) -> Result<Self> {
        let storage = SqliteStorage::new(file).await?;
        // The statement takes its values in the order of the columns that it lists.
        let columns = STORE_EVENT.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
        let (columns, _) = columns.context("store_event.sql lists no columns")?;
        Ok(Self {
            storage,
            connection: Connection::open(file)?,
            select: format!("SELECT event_id, {columns} FROM event WHERE trace > ?1"),
            last_trace: 0,
        })
    }

    /// The rows of events of new traces, in their order.
    pub async fn of(&mut self, events: &Batch) -> Result<Vec<Row>> {
        self.storage.store_events(events.clone()).await?;
        let mut traces = HashMap::new();
        let mut found = self.connection.prepare("SELECT trace_id, seq FROM trace WHERE seq > ?1")?;
        let mut found = found.query([self.last_trace])?;
        while let Some(row) = found.next()? {
            traces.insert(row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?);
        }
        let mut rows = HashMap::new();
        let mut found = self.connection.prepare(&self.select)?;
        let columns = found.column_count();
        let mut found = found.query([self.last_trace])?;
        while let Some(row) = found.next()? {
            let values = (1..columns).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<Value>>>()?;
            rows.insert(row.get::<_, [u8; 16]>(0)?, values);
        }
        self.last_trace = traces.values().copied().max().unwrap_or(self.last_trace);
        events
            .iter()
            .map(|(trace_id, event)| {
                let trace_id = trace_id.as_uuid().into_bytes();
                let trace = traces.remove(&trace_id).map(|seq| [Value::Integer(seq), Value::Blob(trace_id.to_vec())]);
                let event = rows.remove(event.event_id.as_uuid().as_bytes()).context("a stored event has a row")?;
                Ok(Row { trace, event })
            })
            .collect()
    }
}
