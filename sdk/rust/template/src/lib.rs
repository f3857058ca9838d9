//! A storage plugin for reflow-tracing: traces in a SQLite database that the operator grants under the label `default`.
//!
//! `sdk/rust/wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: the plugin stores and returns a `body`
//! unchanged, and searches by the columns beside it.

mod query;

use reflow_tracing_plugin::log::{self, Level};
use reflow_tracing_plugin::sql::{Binding, Connection, Transaction, Value};
use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace,
    TracePage, TraceQuery, Uuid, export,
};

export!(Store);

struct Store {
    database: Connection,
}

impl Backend for Store {
    /// Called once per instance. Several instances use the same database concurrently, so this may run several times at
    /// once.
    fn open(config: &str) -> Result<Self> {
        // The table `[plugins.NAME.config]` as JSON. Refuse unknown settings, so that a misspelt one is noticed.
        if config != "{}" {
            return Err(StorageError::InvalidArgument(format!(
                "this plugin has no settings, but was given {config}"
            )));
        }
        // `?` converts an error of the database to a `StorageError`.
        let database = Connection::open("default")?;
        if database.dialect() != "sqlite" {
            return Err(StorageError::Unsupported(
                "databases other than SQLite".into(),
            ));
        }
        database.execute(include_str!("schema.sql"), &[])?;
        log::write(Level::Debug, "opened");
        Ok(Self { database })
    }

    fn info(&self) -> Info {
        Info {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            features: Vec::new(),
        }
    }

    fn store_traces(&self, traces: Vec<Trace>) -> Result<()> {
        // All or nothing: a transaction that is dropped without `commit` is rolled back.
        let transaction = self.database.begin()?;
        for trace in traces {
            let id = Value::from(trace.trace_id);
            transaction.execute(
                "DELETE FROM tag WHERE trace_id = ?",
                std::slice::from_ref(&id),
            )?;
            let tags: Vec<_> = trace
                .tags
                .into_iter()
                .map(|(name, value)| vec![id.clone(), name.into(), value.into()])
                .collect();
            transaction.execute_many("INSERT INTO tag VALUES (?, ?, ?)", &tags)?;
            let header = [
                id,
                trace.flow_id.into(),
                trace.execution_id.into(),
                trace.start_time.into(),
                trace.end_time.into(),
                trace.status.name().into(),
                trace.error.into(),
                trace.body.into(),
            ];
            // A header that is stored again replaces the earlier one; the events stay.
            transaction.execute(
                "INSERT OR REPLACE INTO trace VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                &header,
            )?;
        }
        Transaction::commit(transaction)?;
        Ok(())
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        // The rows never enter this plugin: the host binds these fields of each event to the statement.
        let fields = [
            "trace-id",
            "timestamp",
            "event-id",
            "event-type",
            "actor-id",
            "error",
            "body",
        ];
        let bindings = fields.map(|field| Binding::Field(field.into()));
        // Storing an event again changes nothing.
        let statement = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
        self.database.insert_batch(statement, &bindings, events)?;
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        let body = |id: Uuid| -> Result<Option<Vec<u8>>> {
            let mut rows = self
                .database
                .query("SELECT body FROM trace WHERE trace_id = ?", &[id.into()])?
                .all()?;
            Ok(rows
                .pop()
                .and_then(|mut row| row.pop())
                .and_then(Value::into_blob))
        };
        // One answer for each id, in the order of the ids.
        ids.into_iter().map(body).collect()
    }

    fn query_traces(&self, query: TraceQuery, page: PageRequest) -> Result<TracePage> {
        let (statement, parameters) = query::select(query, &page)?;
        let mut rows = self.database.query(&statement, &parameters)?.all()?;
        // The statement selects one row more than requested, which shows whether there is a next page.
        let more = rows.len() > page.limit as usize;
        rows.truncate(page.limit as usize);
        let next = if more {
            rows.last().and_then(|row| query::token_of_row(row))
        } else {
            None
        };
        let bodies = rows
            .into_iter()
            .filter_map(|mut row| row.pop().and_then(Value::into_blob))
            .collect();
        Ok(TracePage { bodies, next })
    }

    fn get_events(&self, trace_id: Uuid, page: PageRequest) -> Result<EventPage> {
        // The earliest time and an empty id come before every event.
        let (time, event_id) = match &page.token {
            Some(token) => query::place_of_token(token)?,
            None => (i64::MIN.into(), Vec::new().into()),
        };
        let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
        let parameters = [
            trace_id.into(),
            time,
            event_id,
            i64::from(page.limit).into(),
            offset.into(),
        ];
        let statement =
            "SELECT body FROM event WHERE trace_id = ?1 AND (timestamp, event_id) > (?2, ?3)
                         ORDER BY timestamp, event_id LIMIT ?4 OFFSET ?5";
        // The host fills the batch from column 0, so no event enters this plugin.
        let events = self.database.query_events(statement, &parameters, 0)?;
        let last = events.events(events.len().saturating_sub(1), 1).pop();
        let next = last
            .filter(|_| events.len() == page.limit)
            .map(|event| query::token(event.timestamp, &event.event_id.to_bytes()));
        Ok(EventPage { events, next })
    }

    fn delete_traces(&self, ids: Vec<Uuid>) -> Result<u64> {
        let transaction = self.database.begin()?;
        let mut deleted = 0;
        for id in ids {
            let id = [id.into()];
            let headers = transaction.execute("DELETE FROM trace WHERE trace_id = ?", &id)?;
            let events = transaction.execute("DELETE FROM event WHERE trace_id = ?", &id)?;
            transaction.execute("DELETE FROM tag WHERE trace_id = ?", &id)?;
            deleted += u64::from(headers + events > 0);
        }
        Transaction::commit(transaction)?;
        Ok(deleted)
    }

    fn stats(&self) -> Result<Stats> {
        let statement = "SELECT count(*), (SELECT count(*) FROM event), min(start_time), max(start_time) FROM trace";
        let rows = self.database.query(statement, &[])?.all()?;
        let number = |column: usize| rows.first().and_then(|row| row[column].as_integer());
        let count = |column| number(column).map_or(0, i64::unsigned_abs);
        Ok(Stats {
            traces: count(0),
            events: count(1),
            bytes: None,
            oldest: number(2),
            newest: number(3),
        })
    }

    fn health_check(&self) -> Result<()> {
        // Takes the lock that a write needs, and releases it.
        self.database
            .begin()?
            .query("SELECT 1 FROM trace LIMIT 1", &[])?
            .all()?;
        Ok(())
    }
}
