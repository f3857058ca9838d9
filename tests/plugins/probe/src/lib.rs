//! Uses capabilities on a test's request: the flow of a query (`keyvalue`, `http`, ...) names the operation, and its tags are
//! the arguments. The query fails with `not-found` and the result as the message.
//!
//! Events go into the bucket `events`, if it is granted; what the fields of a batch say into `fields`; how often it was
//! maintained, and what it drops, into `optional`.

#[macro_use]
#[path = "../../stub.rs"]
mod stub;

mod http;
mod wasi;

use reflow_tracing_plugin::keyvalue::{Bucket, Change};
use reflow_tracing_plugin::{
    Backend, Column, EventBatch, Expiry, Info, Maintenance, PageRequest, Result, StorageError, Timestamp, TracePage,
    TraceQuery, Uuid, config, export, keyvalue, log, metrics, render, secrets,
};

export!(Probe, maintenance, expiry);

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
        if let Ok(fields) = Bucket::open("fields") {
            return note_fields(&fields, events);
        }
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
            Some("keyvalue-get") => {
                let value = Bucket::open(arguments.get("label")?)?.get(arguments.get("key")?.as_bytes())?;
                value.map_or("none".into(), |value| String::from_utf8_lossy(&value).into_owned())
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
            Some("render") => {
                let given = arguments.get("json")?;
                let bodies = render::events_from_json(&[given, given]).map_err(StorageError::InvalidArgument)?;
                let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
                render::events_to_json(&bodies).map_err(StorageError::InvalidArgument)?.join("\n")
            }
            Some("render-header") => {
                let bodies =
                    render::headers_from_json(&[arguments.get("json")?]).map_err(StorageError::InvalidArgument)?;
                let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
                render::headers_to_json(&bodies).map_err(StorageError::InvalidArgument)?.join("\n")
            }
            Some("scan-events") => {
                let bucket = Bucket::open(arguments.get("label")?)?;
                let page = bucket.scan_events(b"@", None, 2, true)?;
                let ids = page.events.events(0, 9).into_iter().map(|event| event.actor_id).collect::<Vec<_>>();
                format!("{} of {} more {}", ids.join(","), bucket.count(b"@")?, page.next.is_some())
            }
            _ => return Ok(TracePage { bodies: Vec::new(), next: None }),
        };
        Err(StorageError::NotFound(answer))
    }

    stub!(store_traces, get_traces, get_events, delete_traces, stats, health_check);
}

impl Maintenance for Probe {
    fn maintain(&self) -> Result<()> {
        let bucket = Bucket::open("optional")?;
        let times = bucket.get(b"maintained")?.map_or(0, |times| times[0]);
        Ok(bucket.set(b"maintained", &[times + 1], None)?)
    }
}

impl Expiry for Probe {
    fn drop_oldest(&self, ended_by: Timestamp) -> Result<u64> {
        let bucket = Bucket::open("optional")?;
        Ok(u64::from(bucket.delete(ended_by.to_string().as_bytes())?))
    }
}

/// Notes the texts of the newer fields and where they are present, and stores the events by handle.
fn note_fields(bucket: &Bucket, events: &EventBatch) -> Result<()> {
    for name in ["json", "attributes", "to-actor", "to-port", "flow-id", "error"] {
        let columns = events.columns(&[name.into()]).map_err(StorageError::InvalidArgument)?;
        let Some(Column::Texts(texts)) = columns.into_iter().next() else {
            return Err(StorageError::other("they are texts"));
        };
        let present = events.present(name).map_err(StorageError::InvalidArgument)?;
        let mut start = 0;
        let rows = texts.ends.iter().zip(present).map(|(&end, present)| {
            let text = &texts.text[start..end as usize];
            start = end as usize;
            if present { format!("[{text}]") } else { "-".into() }
        });
        bucket.set(name.as_bytes(), rows.collect::<Vec<_>>().join(" ").as_bytes(), None)?;
    }
    let key = vec![keyvalue::Part::Fixed(b"@".to_vec()), keyvalue::Part::Sortable("timestamp".into())];
    let entry = keyvalue::EventEntry { key, value: vec![keyvalue::Part::Field("body".into())] };
    bucket.insert_batch(&[entry], events, None)?;
    Ok(())
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
