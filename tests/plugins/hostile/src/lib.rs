//! A storage plugin that misbehaves on demand: a query for the traces of the flow `trap`, `spin`, ... does what the name
//! says; every other call is answered in good order.

use std::cell::Cell;

use reflow_tracing_plugin::sql::Connection;
use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace, TracePage, TraceQuery, Uuid,
    export,
};

export!(Hostile);

struct Hostile {
    /// Whether this instance was asked for traces before.
    warm: Cell<bool>,
}

impl Backend for Hostile {
    fn open(_config: &str) -> Result<Self> {
        Ok(Self { warm: Cell::new(false) })
    }

    fn info(&self) -> Info {
        Info { name: "hostile".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn store_traces(&self, _traces: Vec<Trace>) -> Result<()> {
        Ok(())
    }

    fn store_events(&self, _events: &EventBatch) -> Result<()> {
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(vec![None; ids.len()])
    }

    fn query_traces(&self, query: TraceQuery, page: PageRequest) -> Result<TracePage> {
        let nothing = TracePage { bodies: Vec::new(), next: None };
        match query.flow_id.as_deref() {
            Some("trap") => panic!("as asked for"),
            Some("trap-when-warm") if self.warm.replace(true) => panic!("on every call but the first"),
            Some("hoard") => {
                std::mem::forget(std::hint::black_box(vec![1_u8; 8 * 1024 * 1024]));
                Ok(nothing)
            }
            Some("spin") => loop {
                std::hint::black_box(());
            },
            Some("allocate") => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(std::hint::black_box(vec![1_u8; 1024 * 1024]));
                }
            }
            Some("recurse") => Err(StorageError::other(recurse(u64::from(page.limit)).to_string())),
            Some("garbage") => Ok(TracePage { bodies: vec![b"this is no body".to_vec()], next: None }),
            Some("flood") => Ok(TracePage { bodies: vec![Vec::new(); page.limit as usize + 1], next: None }),
            Some("forbidden-label") => {
                Connection::open("secrets")?;
                Ok(nothing)
            }
            // On the database that was granted: each reaches for something beyond it.
            Some("attach") => statement("ATTACH DATABASE 'stolen.db' AS stolen"),
            Some("copy-out") => statement("VACUUM INTO 'stolen.db'"),
            Some("weaken") => statement("PRAGMA synchronous = OFF"),
            Some("endless-query") => statement(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0",
            ),
            Some("abandoned-transaction") => {
                let transaction = Connection::open("default")?.begin()?;
                transaction.execute("CREATE TABLE abandoned (id INTEGER)", &[])?;
                panic!("with a transaction open")
            }
            _ => Ok(nothing),
        }
    }

    fn get_events(&self, _trace_id: Uuid, _page: PageRequest) -> Result<EventPage> {
        Ok(EventPage { events: EventBatch::new(), next: None })
    }

    fn delete_traces(&self, _ids: Vec<Uuid>) -> Result<u64> {
        Ok(0)
    }

    fn stats(&self) -> Result<Stats> {
        // How many tables there are tells whether something was left behind.
        let rows = Connection::open("default")?.query("SELECT count(*) FROM sqlite_schema", &[])?.all()?;
        let tables = rows[0][0].as_integer().unwrap_or(-1).unsigned_abs();
        Ok(Stats { traces: tables, events: 0, bytes: None, oldest: None, newest: None })
    }

    fn health_check(&self) -> Result<()> {
        Ok(())
    }
}

fn statement(sql: &str) -> Result<TracePage> {
    Connection::open("default")?.query(sql, &[])?.all()?;
    Ok(TracePage { bodies: Vec::new(), next: None })
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth + 1)) + depth)
}
