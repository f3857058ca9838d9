//! A forwarder for reflow-tracing: each header and each event that is stored is posted to the setting `url`, as lines of JSON. It keeps
//! nothing and answers no query, so the host uses it beside a store: `also` in `[storage]` names it.
//!
//! `sdk/rust/wit/deps/storage/backend.wit` specifies each function.

use std::time::Duration;

use reflow_tracing_plugin::http::{Request, Response};
use reflow_tracing_plugin::{
    Backend, Column, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace,
    TracePage, TraceQuery, Uuid, config, export, render,
};

export!(Forwarder);

/// Bytes of a request: a larger batch is posted in several. One line may be larger.
const BODY: usize = 1024 * 1024;
/// The time to wait for an answer. Below the host's limit of a call (`call_timeout_ms`, 5000), so that the error says what
/// happened.
const PATIENCE: Duration = Duration::from_secs(4);

struct Forwarder {
    url: String,
}

impl Backend for Forwarder {
    fn open(_: &str) -> Result<Self> {
        // Refuse unknown settings, so that a misspelt one is noticed.
        if let Some(unknown) = config::names().into_iter().find(|name| name != "url") {
            let message =
                format!("`{unknown}` is not a setting of this plugin: its only one is `url`");
            return Err(StorageError::InvalidArgument(message));
        }
        // Settings are JSON, in which a text has quotes.
        let setting = config::get("url").unwrap_or_else(|| "missing".into());
        let url = setting.trim_matches('"').to_owned();
        // Refuses an invalid address now, and not at the first batch.
        Request::new("POST", &url).map_err(|problem| {
            StorageError::InvalidArgument(format!(
                "`url` is {setting}: {problem}, such as \"https://example.com/traces\""
            ))
        })?;
        Ok(Self { url })
    }

    fn info(&self) -> Info {
        Info {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            features: Vec::new(),
        }
    }

    fn store_traces(&self, traces: Vec<Trace>) -> Result<()> {
        let bodies: Vec<_> = traces.iter().map(|trace| &*trace.body).collect();
        self.post(render::headers_to_json(&bodies).map_err(StorageError::InvalidArgument)?)
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        // The host renders the JSON, and no number in it is parsed here, so all of them keep their digits.
        let columns = events
            .columns(&["trace-id".into(), "json".into()])
            .map_err(StorageError::other)?;
        let [Column::Uuids(ids), Column::Texts(json)] = &columns[..] else {
            return Err(StorageError::other("the host's columns have other types"));
        };
        let starts = std::iter::once(0).chain(json.ends.iter().copied());
        let events = starts
            .zip(&json.ends)
            .map(|(start, end)| &json.text[start as usize..*end as usize]);
        let ids = ids
            .chunks_exact(2)
            .map(|half| u128::from(half[0]) << 64 | u128::from(half[1]));
        // A UUID may be written without hyphens.
        let line = |(id, event)| format!("{{\"trace_id\":\"{id:032x}\",\"event\":{event}}}");
        self.post(ids.zip(events).map(line))
    }

    fn health_check(&self) -> Result<()> {
        // Any answer shows that the receiver can be reached; many refuse the method.
        self.send("HEAD", Vec::new()).map(drop)
    }

    fn get_traces(&self, _: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        Err(keeps_nothing())
    }

    fn query_traces(&self, _: TraceQuery, _: PageRequest) -> Result<TracePage> {
        Err(keeps_nothing())
    }

    fn get_events(&self, _: Uuid, _: PageRequest) -> Result<EventPage> {
        Err(keeps_nothing())
    }

    fn delete_traces(&self, _: Vec<Uuid>) -> Result<u64> {
        Err(keeps_nothing())
    }

    fn stats(&self) -> Result<Stats> {
        Err(keeps_nothing())
    }
}

impl Forwarder {
    /// Posts the lines. Returns when all were accepted; otherwise the host calls again, so a receiver may get lines twice.
    fn post(&self, lines: impl IntoIterator<Item = String>) -> Result<()> {
        let mut body = Vec::new();
        for line in lines {
            if !body.is_empty() && body.len() + line.len() >= BODY {
                self.accepted(std::mem::take(&mut body))?;
            }
            body.extend(line.into_bytes());
            body.push(b'\n');
        }
        if body.is_empty() {
            Ok(())
        } else {
            self.accepted(body)
        }
    }

    /// Posts a body. Fails unless it was accepted.
    fn accepted(&self, body: Vec<u8>) -> Result<()> {
        let Response { status, .. } = self.send("POST", body)?;
        match status {
            200..300 => Ok(()),
            // It may accept the same later.
            408 | 429 | 500.. => Err(StorageError::Unavailable(format!(
                "{} answered {status}",
                self.url
            ))),
            _ => Err(StorageError::other(format!(
                "{} answered {status}: it refuses what it was sent",
                self.url
            ))),
        }
    }

    fn send(&self, method: &str, body: Vec<u8>) -> Result<Response> {
        let request = Request::new(method, &self.url)?
            .header("content-type", "application/x-ndjson")
            .within(PATIENCE);
        Ok(request.send(&body)?)
    }
}

fn keeps_nothing() -> StorageError {
    StorageError::Unsupported("this plugin forwards traces and keeps none".into())
}
