//! A storage plugin for reflow-tracing: traces in a bucket of ordered keys and values that the operator grants under the label
//! `default`.
//!
//! `sdk/rust/wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: the plugin stores and returns a `body`
//! unchanged, and searches by the fields beside it. `query.rs` describes the keys.

mod header;
mod query;

use std::collections::BTreeMap;

use header::Header;
use query::{KINDS, Range, of_trace, place};
use reflow_tracing_plugin::keyvalue::{Bucket, Change, Error, EventEntry, Part};
use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace,
    TracePage, TraceQuery, Uuid, export,
};

export!(Store);

/// A page ends when its bodies exceed this, so that an answer stays within the limits of the host.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Keys that are deleted, or events that are skipped, at once.
const CHUNK: u32 = 1_000;

struct Store {
    bucket: Bucket,
}

impl Backend for Store {
    /// Called once per instance. Several instances use the same bucket concurrently.
    fn open(config: &str) -> Result<Self> {
        // The table `[plugins.NAME.config]` as JSON. Refuse unknown settings, so that a misspelt one is noticed.
        if config != "{}" {
            return Err(StorageError::InvalidArgument(format!(
                "this plugin has no settings, but was given {config}"
            )));
        }
        // `?` converts an error of the bucket to a `StorageError`.
        Ok(Self {
            bucket: Bucket::open("default")?,
        })
    }

    fn info(&self) -> Info {
        Info {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            features: Vec::new(),
        }
    }

    fn store_traces(&self, traces: Vec<Trace>) -> Result<()> {
        // Of several headers for one trace, the last one is stored.
        let last: BTreeMap<_, _> = traces
            .into_iter()
            .map(|trace| (trace.trace_id.to_bytes(), trace))
            .collect();
        let ids: Vec<_> = last.values().map(|trace| trace.trace_id).collect();
        let before = query::headers(&self.bucket, &ids)?;
        let mut changes = Vec::new();
        for ((trace, before), id) in last.into_values().zip(before).zip(ids) {
            let header = Header::from(trace);
            changes.extend(
                before
                    .into_iter()
                    .flat_map(|before| unlisted(before.start, id)),
            );
            changes.extend(
                [true, false].map(|ascending| Change::set(place(header.start, id, ascending), [])),
            );
            changes.push(Change::set(of_trace(b'h', id), header.encode()));
        }
        // All or nothing. When two instances replace one header at a time, an old place may be left over; `walk` ignores it.
        self.bucket.apply(&changes, None)?;
        Ok(())
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let entry = |kind: u8, parts: Vec<Part>, value: Vec<Part>| {
            let start = vec![Part::Fixed(vec![kind]), Part::Sortable("trace-id".into())];
            EventEntry {
                key: [start, parts].concat(),
                value,
            }
        };
        let identity = vec![
            Part::Sortable("timestamp".into()),
            Part::Sortable("event-id".into()),
        ];
        let mut entries = vec![
            entry(b'e', identity, vec![Part::Field("body".into())]),
            entry(b'k', vec![Part::Field("event-type".into())], Vec::new()),
            entry(b'x', vec![Part::Present("error".into())], Vec::new()),
            entry(b'a', vec![Part::Field("actor-id".into())], Vec::new()),
        ];
        // No event enters the plugin: the host makes these entries of each. One that is stored already is skipped.
        match self.bucket.insert_batch(&entries, events, None) {
            // An actor id that is too long for a key: for this trace, queries look at the actors of its events.
            Err(Error::LimitExceeded(_)) => {
                entries.pop();
                entries.push(entry(b'l', Vec::new(), Vec::new()));
                self.bucket.insert_batch(&entries, events, None)?;
            }
            inserted => drop(inserted?),
        }
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        let headers = query::headers(&self.bucket, &ids)?;
        Ok(headers
            .into_iter()
            .map(|header| Some(header?.body))
            .collect())
    }

    fn query_traces(&self, query: TraceQuery, page: PageRequest) -> Result<TracePage> {
        // A later host may send a predicate that this plugin does not know. Ignoring it would give a wrong answer.
        if let Some((name, _)) = query.more.first() {
            return Err(StorageError::Unsupported(format!("the predicate `{name}`")));
        }
        let mut answer = TracePage {
            bodies: Vec::new(),
            next: None,
        };
        let (mut bytes, mut skip, mut last) = (0, page.offset, None);
        query::walk(
            &self.bucket,
            Range::of(&query),
            page.token.as_deref(),
            |found| {
                if !query::matches(&self.bucket, &query, found.id, &found.header)? {
                    return Ok(true);
                }
                if skip > 0 {
                    skip -= 1;
                    return Ok(true);
                }
                // One more than fits shows that there is another page.
                let size = found.header.body.len();
                if answer.bodies.len() == page.limit as usize
                    || (bytes > 0 && bytes + size > PAGE_BYTES)
                {
                    answer.next = last.take();
                    return Ok(false);
                }
                bytes += size;
                answer.bodies.push(found.header.body);
                last = Some(found.token);
                Ok(true)
            },
        )?;
        Ok(answer)
    }

    fn get_events(&self, trace_id: Uuid, page: PageRequest) -> Result<EventPage> {
        let prefix = of_trace(b'e', trace_id);
        let (mut cursor, mut skip) = (page.token, page.offset);
        while skip > 0 {
            let limit = CHUNK.min(u32::try_from(skip).unwrap_or(u32::MAX));
            let skipped = self
                .bucket
                .scan_events(&prefix, cursor.as_deref(), limit, false)?;
            if skipped.next.is_none() {
                return Ok(EventPage {
                    events: EventBatch::new(),
                    next: None,
                });
            }
            skip -= u64::from(skipped.events.len());
            cursor = skipped.next;
        }
        // The host makes the batch of the values, so no event enters the plugin.
        let found = self
            .bucket
            .scan_events(&prefix, cursor.as_deref(), page.limit, false)?;
        Ok(EventPage {
            events: found.events,
            next: found.next,
        })
    }

    fn delete_traces(&self, ids: Vec<Uuid>) -> Result<u64> {
        let mut deleted = 0;
        for id in ids {
            let header = query::headers(&self.bucket, &[id])?.pop().flatten();
            let mut existed = header.is_some();
            for prefix in KINDS.map(|kind| of_trace(kind, id)) {
                let mut cursor = None;
                loop {
                    let page = self.bucket.list_keys(&prefix, cursor.as_deref(), CHUNK)?;
                    existed |= !page.keys.is_empty();
                    let changes: Vec<_> = page.keys.into_iter().map(Change::Delete).collect();
                    self.bucket.apply(&changes, None)?;
                    cursor = page.next;
                    if cursor.is_none() {
                        break;
                    }
                }
            }
            // The header is last: if the deletion is interrupted, the next one finds the trace.
            if let Some(header) = header {
                let mut changes = unlisted(header.start, id).to_vec();
                changes.push(Change::Delete(of_trace(b'h', id)));
                self.bucket.apply(&changes, None)?;
            }
            deleted += u64::from(existed);
        }
        Ok(deleted)
    }

    fn stats(&self) -> Result<Stats> {
        let outermost = |ascending| -> Result<Option<i64>> {
            let mut start = None;
            query::walk(
                &self.bucket,
                Range {
                    ascending,
                    from: None,
                    to: None,
                },
                None,
                |found| {
                    start = Some(found.header.start);
                    Ok(false)
                },
            )?;
            Ok(start)
        };
        Ok(Stats {
            traces: self.bucket.count(b"h")?,
            events: self.bucket.count(b"e")?,
            bytes: None,
            oldest: outermost(true)?,
            newest: outermost(false)?,
        })
    }

    fn health_check(&self) -> Result<()> {
        self.bucket.get(b"h")?;
        Ok(())
    }
}

/// Removes a trace with this start from both orders.
fn unlisted(start: i64, id: Uuid) -> [Change; 2] {
    [true, false].map(|ascending| Change::Delete(place(start, id, ascending)))
}
