//! Runs a test's statements: the flow of a query (`execute`, `query`, ...) names the operation, and its tags `sql` and `setup`
//! have the statements. The query fails with the result, because its answer has no field for it.

#[macro_use]
#[path = "../../stub.rs"]
mod stub;

use std::cell::RefCell;

use reflow_tracing_plugin::sql::{Binding, Connection, Cursor, Error, Transaction, Value};
use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, StorageError, TracePage, TraceQuery, Uuid, export,
};

export!(ProbeSql);

struct ProbeSql;

thread_local! {
    /// What calls left open.
    static LEFT: RefCell<Vec<Left>> = const { RefCell::new(Vec::new()) };
}

#[allow(dead_code)]
enum Left {
    Cursor(Cursor),
    Transaction(Transaction),
}

fn leave(left: Left) {
    LEFT.with_borrow_mut(|all| all.push(left));
}

/// One of every kind.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        Value::Boolean(true),
        Value::Integer(i64::MIN),
        Value::Real(-0.1),
        Value::Text("it's é💾".into()),
        Value::Blob(vec![0, 1, 255]),
    ]
}

fn probe(how: &str, sql: &str, setup: &str) -> std::result::Result<String, Error> {
    let database = Connection::open("default")?;
    Ok(match how {
        "execute" => database.execute(sql, &[])?.to_string(),
        "query" => rows(&database.query(sql, &[])?.all()?),
        "query-with-values" => rows(&database.query(sql, &values())?.all()?),
        "execute-with-values" => database.execute(sql, &values())?.to_string(),
        "execute-with-nul" => database.execute(sql, &["a\0b".into()])?.to_string(),
        "execute-with-real" => database.execute(sql, &[Value::Real(0.5)])?.to_string(),
        "execute-rows" => {
            let row = |number: i64| vec![number.into(), format!("row {number}").into()];
            database.execute_many(sql, &(0..1_000).map(row).collect::<Vec<_>>())?.to_string()
        }
        // The last exists already.
        "execute-rows-that-fail" => {
            let row = |number: i64| vec![number.into(), format!("row {number}").into()];
            let rows: Vec<_> = (1_000..1_100).chain([0]).map(row).collect();
            database.execute_many(sql, &rows)?.to_string()
        }
        "transaction-that-fails-in-part" => {
            let transaction = database.begin()?;
            transaction.execute(setup, &[])?;
            let row = |number: i64| vec![number.into(), format!("row {number}").into()];
            let failed = transaction.execute_many(sql, &[row(5_000), row(5_001), row(5_000)]).is_err();
            Transaction::commit(transaction)?;
            format!("failed: {failed}")
        }
        "commit" => {
            let transaction = database.begin()?;
            transaction.execute(sql, &[])?;
            Transaction::commit(transaction)?;
            "committed".into()
        }
        "drop-transaction" => {
            let transaction = database.begin()?;
            transaction.execute(sql, &[])?;
            "dropped".into()
        }
        "trap-in-transaction" => {
            let transaction = database.begin()?;
            transaction.execute(sql, &[])?;
            panic!("with a transaction open")
        }
        "spin-in-transaction" => {
            let transaction = database.begin()?;
            transaction.execute(sql, &[])?;
            loop {
                std::hint::black_box(&transaction);
            }
        }
        "leave-transaction" => {
            let transaction = database.begin()?;
            transaction.execute(sql, &[])?;
            leave(Left::Transaction(transaction));
            "left open".into()
        }
        "count-rows" => {
            let cursor = database.query(sql, &[])?;
            let (mut count, mut pages, mut largest) = (0, 0, 0);
            loop {
                let page = cursor.next(10_000)?;
                if page.is_empty() {
                    break format!("{count} rows in {} pages", if pages > 10 { "many" } else { "few" });
                }
                count += page.len();
                largest = largest.max(page.len());
                pages += 1;
            }
        }
        // Reads a page, then uses the transaction for another statement.
        "cursor-in-transaction" => {
            let transaction = database.begin()?;
            let cursor = transaction.query(sql, &[])?;
            cursor.next(1)?;
            let refused = transaction.execute(setup, &[]).is_err();
            drop(cursor);
            transaction.execute(setup, &[])?;
            Transaction::commit(transaction)?;
            format!("refused: {refused}")
        }
        "leak-cursors" => loop {
            let cursor = database.query(sql, &[])?;
            cursor.next(1)?;
            leave(Left::Cursor(cursor));
        },
        "drop-cursors" => {
            // More than there are connections.
            for _ in 0..10 {
                database.query(sql, &[])?.next(1)?;
            }
            "dropped".into()
        }
        other => return Err(Error::Other(format!("there is no probe `{other}`"))),
    })
}

fn rows(rows: &[Vec<Value>]) -> String {
    let rows: Vec<String> = rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(", ")).collect();
    rows.join("; ")
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("real {number}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Blob(bytes) => format!("{bytes:?}"),
    }
}

/// The error with the name of its case.
fn case(error: Error) -> String {
    match error {
        Error::NoSuchLabel(label) => format!("no-such-label: {label}"),
        Error::AccessDenied(message) => format!("access-denied: {message}"),
        Error::PoolExhausted => "pool-exhausted".into(),
        Error::Timeout => "timeout".into(),
        Error::ConnectionLost(message) => format!("connection-lost: {message}"),
        Error::LimitExceeded(message) => format!("limit-exceeded: {message}"),
        Error::Database(error) => {
            format!("database {} (retryable: {}): {}", error.code, error.retryable, error.message)
        }
        Error::Conversion(message) => format!("conversion: {message}"),
        Error::Other(message) => format!("other: {message}"),
    }
}

impl Backend for ProbeSql {
    fn open(_config: &str) -> Result<Self> {
        Ok(Self)
    }

    fn info(&self) -> Info {
        Info { name: "probe-sql".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    /// Inserts into the columns `u`, `high`, `low`, `n`, `t`, `fixed` and `b` of the table `batch`.
    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let database = Connection::open("default")?;
        let placeholders = match database.dialect().as_str() {
            "postgresql" => "$1, $2, $3, $4, $5, $6, $7",
            _ => "?, ?, ?, ?, ?, ?, ?",
        };
        let field = |name: &str| Binding::Field(name.into());
        let bindings = [
            field("event-id"),
            Binding::High("event-id".into()),
            Binding::Low("event-id".into()),
            field("timestamp"),
            field("actor-id"),
            Binding::Fixed(Value::Integer(7)),
            field("body"),
        ];
        let statement = format!("INSERT INTO batch (u, high, low, n, t, fixed, b) VALUES ({placeholders}), ...");
        let changed = database.insert_batch(&statement, &bindings, events)?;
        if changed != u64::from(events.len()) {
            return Err(StorageError::other(format!("{changed} rows changed for {} events", events.len())));
        }
        Ok(())
    }

    fn query_traces(&self, query: TraceQuery, _page: PageRequest) -> Result<TracePage> {
        let tag = |wanted: &str| query.tags.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value);
        let how = query.flow_id.as_deref().unwrap_or_default();
        let result = probe(how, tag("sql"), tag("setup")).unwrap_or_else(case);
        Err(StorageError::InvalidArgument(result))
    }

    fn get_events(&self, _trace_id: Uuid, _page: PageRequest) -> Result<EventPage> {
        let database = Connection::open("default")?;
        let events = database.query_events("SELECT n, b FROM batch ORDER BY n", &[], 1)?;
        Ok(EventPage { events, next: None })
    }

    stub!(store_traces, get_traces, delete_traces, stats, health_check);
}
