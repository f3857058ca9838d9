//! A storage plugin that misbehaves on demand: a query for the traces of the flow `trap`, `spin`, ... does what the name
//! says. Other calls behave well. With the setting `trap = "NAME"`, the export of that name traps; with `pages = "HOW"`, pages
//! are wrong in that way.

mod attack;
mod greed;

use std::cell::{Cell, RefCell};

use reflow_tracing_plugin::keyvalue::Bucket;
use reflow_tracing_plugin::sql::Connection;
use reflow_tracing_plugin::{
    Backend, Blobs, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace, TracePage,
    TraceQuery, Uuid, config, export, secrets,
};

export!(Hostile);

struct Hostile {
    /// Whether this instance has answered a query.
    warm: Cell<bool>,
}

thread_local! {
    /// The body of the event that was stored last, to push into batches.
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The text of a setting.
fn setting(name: &str) -> Option<String> {
    config::get(name).map(|json| json.trim_matches('"').to_owned())
}

/// Traps if the setting names the export.
fn trap_in(name: &str) {
    if setting("trap").is_some_and(|chosen| chosen == name) {
        panic!("in {name}, on request");
    }
}

/// The seconds of the items of a page, and the token of the next one, for a listing without an end.
fn pages(how: &str, page: &PageRequest) -> (Vec<u32>, Option<Vec<u8>>) {
    let number = page.token.as_deref().map_or(0, |token| u32::from_le_bytes(token.try_into().unwrap_or_default()));
    let token = |number: u32| Some(number.to_le_bytes().to_vec());
    match how {
        "repeated" => (vec![0], token(number + 1)),
        "empty" => (Vec::new(), token(number + 1)),
        "same-token" => (vec![number], token(7)),
        "disordered" => (vec![2, 1], None),
        "long-token" => (vec![number], Some(vec![0; 1024 * 1024])),
        _ => (Vec::new(), None),
    }
}

impl Backend for Hostile {
    fn open(_config: &str) -> Result<Self> {
        trap_in("open");
        Ok(Self { warm: Cell::new(false) })
    }

    fn info(&self) -> Info {
        Info { name: "hostile".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn store_traces(&self, _traces: Vec<Trace>) -> Result<()> {
        trap_in("store-traces");
        Ok(())
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        trap_in("store-events");
        if let Some(event) = events.events(0, 1).pop() {
            BODY.set(event.body);
        }
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        trap_in("get-traces");
        Ok(vec![None; ids.len()])
    }

    fn query_traces(&self, query: TraceQuery, page: PageRequest) -> Result<TracePage> {
        trap_in("query-traces");
        let nothing = TracePage { bodies: Vec::new(), next: None };
        if let Some(how) = setting("pages") {
            let (seconds, next) = pages(&how, &page);
            return Ok(TracePage { bodies: seconds.into_iter().map(attack::header_at).collect(), next });
        }
        if let Some(done) = query.flow_id.as_deref().and_then(attack::run) {
            return done.map(|()| nothing);
        }
        match query.flow_id.as_deref() {
            Some("trap") => panic!("on request"),
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
            // Recurses to a depth and returns.
            Some("descend") => Err(StorageError::NotFound(descend(query_depth(&query)).to_string())),
            // Infinitely many short calls.
            Some("call") => loop {
                std::hint::black_box(config::names());
            },
            Some("hand-over") => Ok(greed::repeated_bytes()),
            Some("batches") => greed::batches(),
            Some("push") => greed::push(&BODY.take()),
            Some("push-to-many") => greed::push_to_many(&BODY.take()),
            Some("hold") => greed::hold_and_trap(),
            Some("log") => greed::log(),
            Some("metrics") => greed::metrics(),
            Some("forbidden-bucket") => {
                Bucket::open("vault")?;
                Ok(nothing)
            }
            Some("forbidden-secret") => {
                secrets::get("vault")?;
                Ok(nothing)
            }
            Some("garbage") => Ok(TracePage { bodies: vec![b"this is no body".to_vec()], next: None }),
            Some("flood") => Ok(TracePage { bodies: vec![Vec::new(); page.limit as usize + 1], next: None }),
            Some("forbidden-label") => {
                Connection::open("secrets")?;
                Ok(nothing)
            }
            // Statements that reach beyond the granted database.
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

    fn get_events(&self, _trace_id: Uuid, page: PageRequest) -> Result<EventPage> {
        trap_in("get-events");
        let events = EventBatch::new();
        let Some(how) = setting("pages") else { return Ok(EventPage { events, next: None }) };
        let (seconds, next) = pages(&how, &page);
        for second in seconds {
            let body = attack::body_at(second);
            let ends = vec![body.len() as u32];
            events.push(&Blobs { data: body, ends }).map_err(StorageError::Exhausted)?;
        }
        Ok(EventPage { events, next })
    }

    fn delete_traces(&self, _ids: Vec<Uuid>) -> Result<u64> {
        trap_in("delete-traces");
        Ok(0)
    }

    fn stats(&self) -> Result<Stats> {
        trap_in("get-stats");
        // The number of tables shows whether anything was left behind.
        let rows = Connection::open("default")?.query("SELECT count(*) FROM sqlite_schema", &[])?.all()?;
        let tables = rows[0][0].as_integer().unwrap_or(-1).unsigned_abs();
        Ok(Stats { traces: tables, events: 0, bytes: None, oldest: None, newest: None })
    }

    fn health_check(&self) -> Result<()> {
        trap_in("health-check");
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

/// The value of the tag `depth`.
fn query_depth(query: &TraceQuery) -> u64 {
    let depth = query.tags.iter().find(|(name, _)| name == "depth");
    depth.and_then(|(_, depth)| depth.parse().ok()).unwrap_or_default()
}

fn descend(depth: u64) -> u64 {
    if depth == 0 { 0 } else { std::hint::black_box(descend as fn(u64) -> u64)(depth - 1) + 1 }
}
