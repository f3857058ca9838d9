//! The transactions of the thread that writes: what each write does to the tables.

use hashlink::LruCache;
use reflow_tracing_model::TraceId;
use reflow_tracing_storage::sql::EventRow;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::header::HeaderRow;
use crate::read::sequence_of;
use crate::write::{Job, Write};
use crate::{event, leases};

/// Traces deleted per transaction, so that writers don't wait long.
pub(super) const DELETED_AT_ONCE: usize = 100;
/// The number of traces whose sequence number is cached: more than are recorded at one time.
const KNOWN_TRACES: usize = 50_000;

/// Applies writes to the tables.
pub(super) struct Rows {
    /// The sequence numbers of recently used traces.
    sequences: LruCache<TraceId, i64>,
    /// SQLite's counter of commits by other connections.
    data_version: i64,
}

impl Default for Rows {
    fn default() -> Self {
        Self { sequences: LruCache::new(KNOWN_TRACES), data_version: 0 }
    }
}

impl Rows {
    /// Applies all jobs in one transaction. Returns the result of each.
    pub(super) fn apply(&mut self, connection: &mut Connection, jobs: &[&Job]) -> rusqlite::Result<Vec<u64>> {
        let applied = self.transact(connection, jobs);
        if applied.is_err() {
            self.forget();
        }
        applied
    }

    /// Forgets what may have been rolled back.
    pub(super) fn forget(&mut self) {
        self.sequences.clear();
    }

    fn transact(&mut self, connection: &mut Connection, jobs: &[&Job]) -> rusqlite::Result<Vec<u64>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let data_version = transaction.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if data_version != self.data_version {
            // Another process wrote, and may have deleted traces.
            self.sequences.clear();
            self.data_version = data_version;
        }
        let counts =
            jobs.iter().map(|job| self.write(&transaction, &job.write)).collect::<rusqlite::Result<Vec<_>>>()?;
        transaction.commit()?;
        Ok(counts)
    }

    fn write(&mut self, transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<u64> {
        match write {
            Write::Store { headers, events } => {
                self.store_events(transaction, events)?;
                headers.iter().try_for_each(|header| self.store_header(transaction, header))?;
                Ok(0)
            }
            Write::Begin(host, headers) => {
                for row in headers {
                    leases::hold(transaction, *host, row.header.trace_id)?;
                    if !has(transaction, "SELECT 1 FROM trace WHERE trace_id = ?1 AND start_time IS NOT NULL", row)? {
                        self.store_header(transaction, row)?;
                    }
                }
                Ok(0)
            }
            Write::Leave(host, headers) => {
                for row in headers {
                    let is_last = leases::leave(transaction, *host, row.header.trace_id)?;
                    let ended = "SELECT 1 FROM trace WHERE trace_id = ?1 AND end_time IS NOT NULL";
                    if is_last && row.header.end_time.is_some() && !has(transaction, ended, row)? {
                        self.store_header(transaction, row)?;
                    }
                }
                Ok(0)
            }
            Write::RenewLease(host, duration) => Ok(leases::renew(transaction, *host, *duration)?.into()),
            Write::DeleteTraces(trace_ids) => {
                let mut deleted = 0;
                for trace_id in trace_ids {
                    self.sequences.remove(trace_id);
                    if let Some(sequence) = sequence_of(transaction, *trace_id)? {
                        deleted += delete(transaction, sequence)?;
                    }
                }
                Ok(deleted)
            }
            Write::DeleteBefore(time) => {
                let old = transaction
                    .prepare_cached("SELECT seq FROM trace WHERE start_time < ?1 LIMIT ?2")?
                    .query_map(params![time, DELETED_AT_ONCE], |row| row.get(0))?
                    .collect::<rusqlite::Result<Vec<i64>>>()?;
                self.sequences.clear();
                old.into_iter().map(|sequence| delete(transaction, sequence)).sum()
            }
            Write::Check => {
                // The version that it has: SQLite writes the page all the same.
                let version = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0))?;
                transaction.pragma_update(None, "user_version", version)?;
                Ok(0)
            }
            Write::GiveBack | Write::Checkpoint => Ok(0),
        }
    }

    fn store_header(&mut self, transaction: &Transaction<'_>, row: &HeaderRow) -> rusqlite::Result<()> {
        let sequence = row.store(&mut *transaction.prepare_cached(include_str!("sql/store_trace.sql"))?)?;
        self.sequences.insert(row.header.trace_id, sequence);
        transaction.prepare_cached("DELETE FROM tag WHERE trace = ?1")?.execute([sequence])?;
        let mut add_tag = transaction.prepare_cached("INSERT INTO tag (trace, name, value) VALUES (?1, ?2, ?3)")?;
        for (name, value) in &row.header.metadata.tags {
            add_tag.execute(params![sequence, name, value])?;
        }
        Ok(())
    }

    fn store_events(&mut self, transaction: &Transaction<'_>, events: &[EventRow]) -> rusqlite::Result<()> {
        let mut store = transaction.prepare_cached(include_str!("sql/store_event.sql"))?;
        for event in events {
            let sequence = match self.sequences.get(&event.trace_id) {
                Some(sequence) => *sequence,
                None => self.sequence(transaction, event.trace_id)?,
            };
            event::store(event, &mut store, sequence)?;
        }
        Ok(())
    }

    /// The sequence number of a trace. Adds the trace if it is unknown.
    fn sequence(&mut self, transaction: &Transaction<'_>, trace_id: TraceId) -> rusqlite::Result<i64> {
        let sequence = match sequence_of(transaction, trace_id)? {
            Some(sequence) => sequence,
            None => transaction
                .prepare_cached("INSERT INTO trace (trace_id) VALUES (?1) RETURNING seq")?
                .query_row([trace_id.0.as_bytes()], |row| row.get(0))?,
        };
        self.sequences.insert(trace_id, sequence);
        Ok(sequence)
    }
}

/// Whether a write only gives an end to traces that have none, which each trace gets once.
pub(super) fn ends_traces(connection: &Connection, write: &Write) -> bool {
    let Write::Store { headers, events } = write else { return false };
    let running = "SELECT 1 FROM trace WHERE trace_id = ?1 AND start_time IS NOT NULL AND end_time IS NULL";
    let ends = |row: &HeaderRow| row.header.end_time.is_some() && has(connection, running, row).unwrap_or(false);
    events.is_empty() && !headers.is_empty() && headers.iter().all(ends)
}

fn has(connection: &Connection, sql: &str, row: &HeaderRow) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.exists([row.header.trace_id.0.as_bytes()])
}

/// Deletes a trace with its events and tags. Returns the number of traces, 1.
fn delete(transaction: &Transaction<'_>, sequence: i64) -> rusqlite::Result<u64> {
    for statement in
        ["DELETE FROM event WHERE trace = ?1", "DELETE FROM tag WHERE trace = ?1", "DELETE FROM trace WHERE seq = ?1"]
    {
        transaction.prepare_cached(statement)?.execute([sequence])?;
    }
    Ok(1)
}
