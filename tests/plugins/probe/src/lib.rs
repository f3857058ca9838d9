//! Uses capabilities on a test's request: the flow of a query (`keyvalue`, `http`, ...) names the operation, and its tags are
//! the arguments. The query fails with `not-found` and the result as the message.
//!
//! Events go into the bucket `events`, if it is granted.

#[macro_use]
#[path = "../../stub.rs"]
mod stub;

mod http;
mod wasi;

use reflow_tracing_plugin::keyvalue::{Bucket, Change};
use reflow_tracing_plugin::{
    Backend, Column, EventBatch, Info, PageRequest, Result, StorageError, TracePage, TraceQuery, Uuid, config, export,
    keyvalue, log, metrics, secrets,
};

export!(Probe);

struct Probe;

/// The arguments of an operation, by name.
struct Arguments(Vec<(String, String)>);

impl Arguments {
    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Result<&str> {
        self.find(name).ok_or_else(|| StorageError::InvalidArgument(format!("the argument `{name}` is missing")))
    }
}

impl Backend for Probe {
    fn open(_config: &str) -> Result<Self> {
        Ok(Self)
    }

    fn info(&self) -> Info {
        Info { name: "probe".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let columns = events.columns(&["event-id".into()]).map_err(StorageError::InvalidArgument)?;
        let Some(Column::Uuids(ids)) = columns.into_iter().next() else {
            return Err(StorageError::other("event ids are UUIDs"));
        };
        let changes: Vec<_> =
            ids.chunks(2).map(|id| Change::set(Uuid { high: id[0], low: id[1] }.to_bytes(), b"stored")).collect();
        Ok(Bucket::open("events")?.apply(&changes, None)?)
    }

    fn query_traces(&self, query: TraceQuery, _page: PageRequest) -> Result<TracePage> {
        let arguments = Arguments(query.tags);
        let answer = match query.flow_id.as_deref() {
            Some("keyvalue") => keyvalue_tour(arguments.get("label")?)?,
            Some("keyvalue-set") => {
                Bucket::open(arguments.get("label")?)?.set(arguments.get("key")?.as_bytes(), b"set", None)?;
                "set".into()
            }
            Some("keyvalue-keys") => {
                let keys: std::result::Result<Vec<_>, keyvalue::Error> =
                    Bucket::open(arguments.get("label")?)?.keys(b"").collect();
                keys?.iter().map(|key| String::from_utf8_lossy(key)).collect::<Vec<_>>().join(",")
            }
            Some("http") => http::ask(&arguments)?,
            Some("config") => {
                let settings = config::names().into_iter().map(|name| {
                    let value = config::get(&name).unwrap_or_default();
                    format!("{name}={value}")
                });
                let missing = config::get("missing");
                format!("{} missing={missing:?}", settings.collect::<Vec<_>>().join(" "))
            }
            Some("secret") => secrets::text(arguments.get("label")?)?,
            Some("metrics") => {
                metrics::count("questions", 1);
                metrics::gauge("depth", 2.5);
                metrics::observe("seconds", 0.25);
                "counted".into()
            }
            Some("log") => {
                log::write(log::Level::Info, arguments.get("message")?);
                "logged".into()
            }
            Some("wasi") => wasi::look_around()?,
            _ => return Ok(TracePage { bodies: Vec::new(), next: None }),
        };
        Err(StorageError::NotFound(answer))
    }

    stub!(store_traces, get_traces, get_events, delete_traces, stats, health_check);
}

/// Calls every function of a bucket.
fn keyvalue_tour(label: &str) -> Result<String> {
    let bucket = Bucket::open(label)?;
    let mut steps = Vec::new();
    bucket.set(b"a", b"1", None)?;
    bucket.set(b"b", b"2", Some(3_600_000))?;
    bucket.set(b"gone", b"3", Some(0))?;
    steps.push(format!("get {:?} {:?}", bucket.get(b"a")?, bucket.get(b"gone")?));
    steps.push(format!("many {:?}", bucket.get_many(&[b"b".to_vec(), b"none".to_vec()])?));
    steps.push(format!("delete {} {}", bucket.delete(b"a")?, bucket.delete(b"a")?));
    bucket.apply(&[Change::set("c", "4"), Change::set("d", "5"), Change::Delete(b"b".to_vec())], None)?;
    let wrong = bucket.compare_and_set(b"c", Some(b"5"), Some(b"6"), None)?;
    let right = bucket.compare_and_set(b"c", Some(b"4"), Some(b"6"), None)?;
    steps.push(format!("exchange {wrong} {right}"));
    let page = bucket.list_keys(b"", None, 1)?;
    let rest = bucket.list_keys(b"", page.next.as_deref(), 9)?;
    steps.push(format!("list {:?} {:?} {:?}", page.keys, rest.keys, rest.next));
    let backwards = bucket.scan(b"", None, 9, true)?;
    steps.push(format!("scan {:?}", backwards.entries.iter().map(|entry| &entry.value).collect::<Vec<_>>()));
    let entries = bucket.entries(b"").collect::<std::result::Result<Vec<_>, _>>()?;
    steps.push(format!("entries {}", entries.len()));
    let error = bucket.set(&[0; 2000], b"", None).err();
    steps.push(format!("too long {}", matches!(error, Some(keyvalue::Error::LimitExceeded(_)))));
    Ok(steps.join("; "))
}
