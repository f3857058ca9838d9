//! A storage plugin for SQL databases: a complete backend over the `sql` capability.
//!
//! Grant it a database under the label `default`:
//!
//! ```toml
//! [plugins.relational]
//! grants = { sql = { default = "sqlite:traces.db" } }
//! ```
//!
//! The bodies of headers and events are stored untouched; what is searched by stands in columns beside them. Events never
//! enter the plugin: the host binds them to the statement (`insert-batch`), and answers come from a query as a batch
//! (`query-events`).

mod select;
mod token;

use std::collections::HashMap;

use reflow_tracing_plugin::sql::{Binding, Connection, Value};
use reflow_tracing_plugin::{
    Backend, Column, EventBatch, EventPage, Info, PageRequest, Result, Stats, Status, StorageError, Trace, TracePage,
    TraceQuery, Uuid, export,
};
use select::Select;
use token::Place;

export!(Relational);

/// Few enough that the statement stays small.
const IDS_A_QUERY: usize = 500;

struct Relational {
    database: Connection,
}

impl Backend for Relational {
    fn open(config: &str) -> Result<Self> {
        if config != "{}" {
            let message = format!("the plugin `relational` has no settings, but was given {config}");
            return Err(StorageError::InvalidArgument(message));
        }
        let database = Connection::open("default")?;
        match database.dialect().as_str() {
            "sqlite" => database.execute(include_str!("sqlite/schema.sql"), &[])?,
            other => return Err(StorageError::Unsupported(format!("databases of the kind `{other}`; use SQLite"))),
        };
        Ok(Self { database })
    }

    fn info(&self) -> Info {
        Info { name: "relational".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn store_traces(&self, traces: Vec<Trace>) -> Result<()> {
        let ids: Vec<_> = traces.iter().map(|trace| vec![trace.trace_id.into()]).collect();
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
        let transaction = self.database.begin()?;
        transaction.execute_many(include_str!("sqlite/store_trace.sql"), &headers)?;
        transaction.execute_many(include_str!("sqlite/delete_tags.sql"), &ids)?;
        transaction.execute_many(include_str!("sqlite/store_tag.sql"), &tags)?;
        reflow_tracing_plugin::sql::Transaction::commit(transaction)?;
        Ok(())
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        // Events are clustered by the number of their trace, which its row gives; only the ids have to be looked at.
        let traces: Vec<_> = distinct_traces(events)?.into_iter().map(|trace_id| vec![trace_id.into()]).collect();
        let fields = ["trace-id", "event-id", "timestamp", "event-type", "actor-id", "error", "body"];
        let bindings = fields.map(|field| Binding::Field(field.into()));
        let transaction = self.database.begin()?;
        transaction.execute_many("INSERT INTO trace (trace_id) VALUES (?) ON CONFLICT DO NOTHING", &traces)?;
        transaction.insert_batch(include_str!("sqlite/store_event.sql"), &bindings, events)?;
        reflow_tracing_plugin::sql::Transaction::commit(transaction)?;
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        let mut found = HashMap::new();
        for ids in ids.chunks(IDS_A_QUERY) {
            let placeholders = vec!["?"; ids.len()].join(", ");
            let statement =
                format!("SELECT trace_id, body FROM trace WHERE body IS NOT NULL AND trace_id IN ({placeholders})");
            let parameters: Vec<Value> = ids.iter().copied().map(Value::from).collect();
            for row in self.database.query(&statement, &parameters)?.all()? {
                if let Ok([Value::Blob(trace_id), Value::Blob(body)]) = <[Value; 2]>::try_from(row) {
                    found.insert(trace_id, body);
                }
            }
        }
        // Asked for twice, given twice.
        Ok(ids.into_iter().map(|trace_id| found.get(trace_id.to_bytes().as_slice()).cloned()).collect())
    }

    fn query_traces(&self, query: TraceQuery, page: PageRequest) -> Result<TracePage> {
        let limit = page.limit as usize;
        let (statement, parameters) = Select::new(query, &page)?.page(&page);
        let mut rows = self.database.query(&statement, &parameters)?.all()?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).and_then(|row| Place::of_row(row)).map(Place::token);
        let bodies = rows.into_iter().filter_map(|mut row| row.pop().and_then(Value::into_blob)).collect();
        Ok(TracePage { bodies, next })
    }

    fn get_events(&self, trace_id: Uuid, page: PageRequest) -> Result<EventPage> {
        // An empty id and the earliest time come before every event.
        let (time, event_id) = match &page.token {
            None => (Value::Integer(i64::MIN), Value::Blob(Vec::new())),
            Some(token) => Place::parse(token)?.into_values(),
        };
        let limit = Value::Integer(page.limit.into());
        let offset = Value::Integer(i64::try_from(page.offset).unwrap_or(i64::MAX));
        let parameters = [trace_id.into(), time, event_id, limit, offset];
        let events = self.database.query_events(include_str!("sqlite/get_events.sql"), &parameters, 0)?;
        let next = if events.len() == page.limit { last_event(&events)?.map(Place::token) } else { None };
        Ok(EventPage { events, next })
    }

    fn delete_traces(&self, ids: Vec<Uuid>) -> Result<u64> {
        let ids: Vec<_> = ids.into_iter().map(|trace_id| vec![trace_id.into()]).collect();
        let transaction = self.database.begin()?;
        transaction.execute_many(include_str!("sqlite/delete_events.sql"), &ids)?;
        transaction.execute_many(include_str!("sqlite/delete_tags.sql"), &ids)?;
        let deleted = transaction.execute_many("DELETE FROM trace WHERE trace_id = ?", &ids)?;
        reflow_tracing_plugin::sql::Transaction::commit(transaction)?;
        Ok(deleted)
    }

    fn stats(&self) -> Result<Stats> {
        let rows = self.database.query(include_str!("sqlite/stats.sql"), &[])?.all()?;
        let number = |column: usize| rows.first().and_then(|row| row.get(column)).and_then(Value::as_integer);
        let count = |column| number(column).and_then(|number| u64::try_from(number).ok());
        Ok(Stats {
            traces: count(0).unwrap_or(0),
            events: count(1).unwrap_or(0),
            bytes: count(2),
            oldest: number(3),
            newest: number(4),
        })
    }

    fn health_check(&self) -> Result<()> {
        // Takes the lock that a write needs, and gives it back.
        let transaction = self.database.begin()?;
        transaction.query("SELECT 1 FROM trace LIMIT 1", &[])?.all()?;
        Ok(())
    }
}

fn header_row(trace: Trace) -> Vec<Value> {
    vec![
        trace.trace_id.into(),
        trace.flow_id.into(),
        trace.execution_id.into(),
        trace.start_time.into(),
        trace.end_time.into(),
        status_name(trace.status).into(),
        trace.error.into(),
        trace.body.into(),
    ]
}

/// As it stands in the column `status`.
fn status_name(status: Status) -> &'static str {
    match status {
        Status::Pending => "Pending",
        Status::Running => "Running",
        Status::Completed => "Completed",
        Status::Failed => "Failed",
        Status::Cancelled => "Cancelled",
    }
}

/// The traces that the events belong to. Neighbours mostly belong to the same one.
fn distinct_traces(events: &EventBatch) -> Result<Vec<Uuid>> {
    let mut traces: Vec<_> = uuids(events, "trace-id")?;
    traces.dedup_by_key(|trace_id| (trace_id.high, trace_id.low));
    traces.sort_unstable_by_key(|trace_id| (trace_id.high, trace_id.low));
    traces.dedup_by_key(|trace_id| (trace_id.high, trace_id.low));
    Ok(traces)
}

fn uuids(events: &EventBatch, field: &str) -> Result<Vec<Uuid>> {
    match columns(events, field)? {
        Some(Column::Uuids(halves)) => {
            Ok(halves.chunks_exact(2).map(|half| Uuid { high: half[0], low: half[1] }).collect())
        }
        _ => Err(StorageError::other(format!("the host's column `{field}` holds no UUIDs"))),
    }
}

fn columns(events: &EventBatch, field: &str) -> Result<Option<Column>> {
    Ok(events.columns(&[field.into()]).map_err(StorageError::other)?.pop())
}

/// Where the last event of a page stands.
fn last_event(events: &EventBatch) -> Result<Option<Place>> {
    let last = events.events(events.len().saturating_sub(1), 1).pop();
    Ok(last.map(|event| Place { time: event.timestamp, id: event.event_id.to_bytes() }))
}
