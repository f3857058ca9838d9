//! A storage plugin for SQL databases: a complete backend over the `sql` capability.
//!
//! Grant it a database under the label `default`:
//!
//! ```toml
//! [plugins.relational]
//! grants = { sql = { default = "sqlite:traces.db" } } # or postgresql://.., mysql://.., mariadb://..
//! ```
//!
//! The bodies of headers and events are stored unchanged, with the searchable fields in columns beside them. Events never enter
//! the plugin: the host binds them to the statement (`insert-batch`), and builds a batch from the rows of a query
//! (`query-events`).

mod dialect;
mod layout;
mod select;
mod token;

use std::collections::{HashMap, HashSet};

use dialect::Dialect;
use reflow_tracing_plugin::sql::{self, Binding, Connection, Lookup, Transaction, Value};
use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace, TracePage, TraceQuery, Uuid,
    export,
};
use select::{Select, placeholders};
use token::Place;

export!(Relational);

/// Maximum ids per statement, to keep it small.
const IDS_A_QUERY: usize = 500;
/// Selects the rows of several traces: the text before the ids and after them.
const BY_ID: (&str, &str) = ("trace_id IN (", ")");
/// Attempts of a statement or transaction that conflicts with another.
const ATTEMPTS: usize = 10;

struct Relational {
    database: Connection,
    dialect: &'static Dialect,
}

impl Backend for Relational {
    fn open(config: &str) -> Result<Self> {
        if config != "{}" {
            let message = format!("the plugin `relational` has no settings, but was given {config}");
            return Err(StorageError::InvalidArgument(message));
        }
        let database = Connection::open("default")?;
        let name = database.dialect();
        let Some(dialect) = Dialect::of(&name) else {
            let message = format!("databases of the kind `{name}`; use SQLite, PostgreSQL or MySQL");
            return Err(StorageError::Unsupported(message));
        };
        layout::ensure(&database, dialect)?;
        Ok(Self { database, dialect })
    }

    fn info(&self) -> Info {
        Info { name: "relational".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn store_traces(&self, traces: Vec<Trace>) -> Result<()> {
        let traces = last_of_each(traces);
        let ids: Vec<_> = traces.iter().map(|trace| trace.trace_id).collect();
        let tags: Vec<_> = traces
            .iter()
            .flat_map(|trace| {
                trace
                    .tags
                    .iter()
                    .map(|(name, value)| vec![trace.trace_id.into(), name.as_str().into(), value.as_str().into()])
            })
            .collect();
        let headers: Vec<_> = traces.into_iter().map(header_row).collect();
        self.transaction(|transaction| {
            // First, because its row locks protect the tags too.
            transaction.execute_many(self.dialect.store_traces, &headers)?;
            self.delete(transaction, "tag", BY_ID, &ids)?;
            transaction.execute_many(self.dialect.store_tags, &tags)?;
            Ok(())
        })
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        // One statement, so it needs no transaction.
        let field = |name: &str| Binding::Field(name.into());
        let trace = match self.dialect.number_of_trace {
            Some(statement) => Binding::LookedUp(Lookup { field: "trace-id".into(), statement: statement.into() }),
            None => field("trace-id"),
        };
        let fields = ["timestamp", "event-id", "event-type", "actor-id", "error", "body"];
        let bindings: Vec<_> = std::iter::once(trace).chain(fields.map(field)).collect();
        retrying(|| self.database.insert_batch(self.dialect.store_events, &bindings, events))?;
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        let mut found = HashMap::new();
        for ids in ids.chunks(IDS_A_QUERY) {
            let statement = format!(
                "SELECT trace_id, body FROM trace WHERE body IS NOT NULL AND trace_id IN ({})",
                placeholders(ids.len())
            );
            let parameters: Vec<Value> = ids.iter().copied().map(Value::from).collect();
            for row in self.query(&statement, &parameters)? {
                if let Ok([Value::Blob(trace_id), Value::Blob(body)]) = <[Value; 2]>::try_from(row) {
                    found.insert(trace_id, body);
                }
            }
        }
        // An id that is requested twice is returned twice.
        Ok(ids.into_iter().map(|trace_id| found.get(trace_id.to_bytes().as_slice()).cloned()).collect())
    }

    fn query_traces(&self, query: TraceQuery, page: PageRequest) -> Result<TracePage> {
        let limit = page.limit as usize;
        let (statement, parameters) = Select::new(self.dialect, query, &page)?.page(&page);
        let mut rows = self.query(&statement, &parameters)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).and_then(|row| Place::of_row(row)).map(Place::token);
        let bodies = rows.into_iter().filter_map(|mut row| row.pop().and_then(Value::into_blob)).collect();
        Ok(TracePage { bodies, next })
    }

    fn get_events(&self, trace_id: Uuid, page: PageRequest) -> Result<EventPage> {
        let mut parameters = vec![trace_id.into()];
        let mut after = "";
        if let Some(token) = &page.token {
            let (time, event_id) = Place::parse(token)?.into_values();
            // Written so that each database seeks to the time; not all do for `(timestamp, event_id) > (?, ?)`.
            after = " AND timestamp >= ? AND (timestamp > ? OR event_id > ?)";
            parameters.extend([time.clone(), time, event_id]);
        }
        let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
        parameters.extend([Value::Integer(page.limit.into()), Value::Integer(offset)]);
        let statement = format!(
            "SELECT body FROM event WHERE {}{after} ORDER BY timestamp, event_id LIMIT ? OFFSET ?",
            self.dialect.event_by_id
        );
        let events = self.database.query_events(&self.dialect.statement(&statement), &parameters, 0)?;
        let next = if events.len() == page.limit { last_event(&events)?.map(Place::token) } else { None };
        Ok(EventPage { events, next })
    }

    fn delete_traces(&self, ids: Vec<Uuid>) -> Result<u64> {
        self.transaction(|transaction| {
            // A trace may have events without a header.
            let mut deleted =
                if self.dialect.number_of_trace.is_some() { 0 } else { self.headless(transaction, &ids)? };
            self.delete(transaction, "event", self.dialect.event_by_ids, &ids)?;
            self.delete(transaction, "tag", BY_ID, &ids)?;
            deleted += self.delete(transaction, "trace", BY_ID, &ids)?;
            Ok(deleted)
        })
    }

    fn stats(&self) -> Result<Stats> {
        let rows = self.query(self.dialect.stats, &[])?;
        Ok(Stats {
            traces: count(&rows, 0),
            events: count(&rows, 1),
            bytes: Some(count(&rows, 2)),
            oldest: number(&rows, 3),
            newest: number(&rows, 4),
        })
    }

    fn health_check(&self) -> Result<()> {
        // Takes the lock that a write needs, if there is one, and releases it.
        let transaction = self.database.begin()?;
        transaction.query("SELECT 1 FROM trace LIMIT 1", &[])?.all()?;
        Ok(())
    }
}

impl Relational {
    fn query(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>> {
        Ok(self.database.query(&self.dialect.statement(statement), parameters)?.all()?)
    }

    /// Runs `work` in a transaction.
    fn transaction<T>(&self, work: impl Fn(&Transaction) -> std::result::Result<T, sql::Error>) -> Result<T> {
        retrying(|| {
            let transaction = self.database.begin()?;
            let value = work(&transaction)?;
            Transaction::commit(transaction)?;
            Ok(value)
        })
    }

    /// How many of the traces have events but no header.
    fn headless(&self, transaction: &Transaction, ids: &[Uuid]) -> std::result::Result<u64, sql::Error> {
        let mut found = 0;
        for ids in ids.chunks(IDS_A_QUERY) {
            let statement = format!(
                "SELECT count(DISTINCT trace_id) FROM event WHERE trace_id IN ({}) \
                 AND NOT EXISTS (SELECT 1 FROM trace WHERE trace.trace_id = event.trace_id)",
                placeholders(ids.len())
            );
            let parameters: Vec<Value> = ids.iter().copied().map(Value::from).collect();
            found += count(&transaction.query(&self.dialect.statement(&statement), &parameters)?.all()?, 0);
        }
        Ok(found)
    }

    /// Deletes the rows of the traces from a table. Returns their number.
    fn delete(
        &self,
        transaction: &Transaction,
        table: &str,
        (by_ids, end): (&str, &str),
        ids: &[Uuid],
    ) -> std::result::Result<u64, sql::Error> {
        let mut deleted = 0;
        for ids in ids.chunks(IDS_A_QUERY) {
            let statement = format!("DELETE FROM {table} WHERE {by_ids}{}{end}", placeholders(ids.len()));
            let parameters: Vec<Value> = ids.iter().copied().map(Value::from).collect();
            deleted += transaction.execute(&self.dialect.statement(&statement), &parameters)?;
        }
        Ok(deleted)
    }
}

/// Runs idempotent `work`, and retries it after a conflict: when two writers wait for each other, the database fails one.
fn retrying<T>(work: impl Fn() -> std::result::Result<T, sql::Error>) -> Result<T> {
    let mut attempt = 1;
    loop {
        match work() {
            Err(sql::Error::Database(error)) if error.retryable && attempt < ATTEMPTS => attempt += 1,
            result => return Ok(result?),
        }
    }
}

fn number(rows: &[Vec<Value>], column: usize) -> Option<i64> {
    rows.first()?.get(column)?.as_integer()
}

fn count(rows: &[Vec<Value>], column: usize) -> u64 {
    number(rows, column).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

/// The last header of each trace. It replaces the earlier ones, whose tags must not be stored.
fn last_of_each(traces: Vec<Trace>) -> Vec<Trace> {
    let mut seen = HashSet::new();
    let mut last: Vec<_> = traces.into_iter().rev().filter(|trace| seen.insert(trace.trace_id.to_bytes())).collect();
    // All writers use the same order, so that no two wait for each other.
    last.sort_unstable_by_key(|trace| (trace.trace_id.high, trace.trace_id.low));
    last
}

fn header_row(trace: Trace) -> Vec<Value> {
    vec![
        trace.trace_id.into(),
        trace.flow_id.into(),
        trace.execution_id.into(),
        trace.start_time.into(),
        trace.end_time.into(),
        trace.status.name().into(),
        trace.error.into(),
        trace.body.into(),
    ]
}

/// The place of the last event of a page.
fn last_event(events: &EventBatch) -> Result<Option<Place>> {
    let last = events.events(events.len().saturating_sub(1), 1).pop();
    Ok(last.map(|event| Place { time: event.timestamp, id: event.event_id.to_bytes() }))
}
