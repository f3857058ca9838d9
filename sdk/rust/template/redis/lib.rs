//! A storage plugin for reflow-tracing: traces in a Redis server that the operator grants under the label `default`.
//!
//! `sdk/rust/wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: the plugin stores and returns a `body`
//! unchanged, and searches by the fields beside it. `query.rs` describes the keys.

mod header;
mod query;

use std::collections::BTreeMap;

use header::Header;
use query::{
    Range, UNSORTED, about, bodies_of, checked_token, events_of, exclusive, header_of, order, place,
};
use reflow_tracing_plugin::redis::{
    Command, Connection, Reply, Template, field, fixed, present, sortable,
};
use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace,
    TracePage, TraceQuery, Uuid, export,
};

export!(Store);

/// A page ends when its bodies exceed this, so that an answer stays within the limits of the host.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Traces that are counted in one round trip.
const COUNTED: i64 = 500;

struct Store {
    server: Connection,
}

impl Backend for Store {
    /// Called once per instance. Several instances use the same server concurrently.
    fn open(config: &str) -> Result<Self> {
        // The table `[plugins.NAME.config]` as JSON. Refuse unknown settings, so that a misspelt one is noticed.
        if config != "{}" {
            return Err(StorageError::InvalidArgument(format!(
                "this plugin has no settings, but was given {config}"
            )));
        }
        // `?` converts an error of the server to a `StorageError`.
        Ok(Self {
            server: Connection::open("default")?,
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
        let before = query::headers(&self.server, &ids)?;
        let mut commands = Vec::new();
        for ((trace, before), id) in last.into_values().zip(before).zip(ids) {
            let header = Header::from(trace);
            commands.extend(
                before
                    .into_iter()
                    .flat_map(|before| unlist(before.start, id)),
            );
            commands.extend([true, false].map(|ascending| {
                let place = place(header.start, id, ascending);
                Command::new("ZADD")
                    .arg(order(ascending))
                    .arg(UNSORTED)
                    .arg(place)
            }));
            commands.push(
                Command::new("ZADD")
                    .arg("traces")
                    .arg(UNSORTED)
                    .arg(id.to_bytes()),
            );
            commands.push(Command::new("SET").arg(header_of(id)).arg(header.encode()));
        }
        if commands.is_empty() {
            return Ok(());
        }
        // All or nothing. When two instances replace one header at a time, an old place may be left over; `walk` ignores it.
        self.server.run_if(&[], commands)?;
        Ok(())
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let key = |name: &str| [fixed(name), field("trace-id")];
        let place = || [sortable("timestamp"), sortable("event-id")];
        let commands = [
            Template::new("ZADD")
                .arg([fixed("traces")])
                .arg([fixed(UNSORTED)])
                .arg([sortable("trace-id")]),
            Template::new("SADD")
                .arg(key("about:"))
                .arg([fixed("a"), field("actor-id")])
                .arg([fixed("k"), field("event-type")])
                .arg([fixed("x"), present("error")]),
            Template::new("HSETNX")
                .arg(key("bodies:"))
                .arg(place())
                .arg([field("body")]),
            // It makes the event exist, so it is last: after an interruption, all of the event is stored again.
            Template::new("ZADD")
                .arg(key("events:"))
                .arg([fixed(UNSORTED)])
                .arg(place()),
        ];
        // No event enters the plugin: the host makes these commands of each. One that is stored already is skipped.
        self.server.run_batch_unless(
            Template::new("ZSCORE").arg(key("events:")).arg(place()),
            commands,
            events,
        )?;
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        let headers = query::headers(&self.server, &ids)?;
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
            &self.server,
            Range::of(&query),
            page.token.as_deref(),
            |found| {
                if !query::matches(&self.server, &query, found.id, &found.header)? {
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
                last = Some(found.place);
                Ok(true)
            },
        )?;
        Ok(answer)
    }

    fn get_events(&self, trace_id: Uuid, page: PageRequest) -> Result<EventPage> {
        let from = match &page.token {
            Some(token) => exclusive(checked_token(token)?),
            None => b"-".to_vec(),
        };
        let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
        // One more than requested shows that there is another page.
        let range = Command::new("ZRANGE")
            .arg(events_of(trace_id))
            .arg(from)
            .arg("+")
            .arg("BYLEX");
        let range = range
            .arg("LIMIT")
            .number(offset)
            .number(i64::from(page.limit) + 1);
        let places = self.server.run_one(range)?.into_elements();
        let mut places: Vec<_> = places.into_iter().filter_map(Reply::into_bytes).collect();
        let more = places.len() > page.limit as usize;
        places.truncate(page.limit as usize);
        let Some(last) = places.last().cloned() else {
            return Ok(EventPage {
                events: EventBatch::new(),
                next: None,
            });
        };
        // The host makes the batch of the answer, so no event enters the plugin.
        let events = self
            .server
            .run_for_events([Command::new("HMGET").arg(bodies_of(trace_id)).args(places)])?;
        Ok(EventPage {
            events,
            next: Some(last).filter(|_| more),
        })
    }

    fn delete_traces(&self, ids: Vec<Uuid>) -> Result<u64> {
        let mut deleted = 0;
        for (id, header) in ids.iter().copied().zip(query::headers(&self.server, &ids)?) {
            let mut commands = vec![
                Command::new("DEL").arg(header_of(id)).arg(events_of(id)),
                Command::new("DEL").arg(bodies_of(id)).arg(about(id)),
                Command::new("ZREM").arg("traces").arg(id.to_bytes()),
            ];
            commands.extend(
                header
                    .into_iter()
                    .flat_map(|header| unlist(header.start, id)),
            );
            let replies = self.server.run_if(&[], commands)?.unwrap_or_default();
            let existed = replies
                .first()
                .and_then(Reply::as_integer)
                .is_some_and(|keys| keys > 0);
            deleted += u64::from(existed);
        }
        Ok(deleted)
    }

    fn stats(&self) -> Result<Stats> {
        let mut stats = Stats {
            traces: 0,
            events: 0,
            bytes: None,
            oldest: None,
            newest: None,
        };
        let mut from = b"-".to_vec();
        loop {
            let range = Command::new("ZRANGE")
                .arg("traces")
                .arg(from)
                .arg("+")
                .arg("BYLEX");
            let range = range.arg("LIMIT").number(0).number(COUNTED);
            let ids = self.server.run_one(range)?.into_elements();
            let ids: Vec<[u8; 16]> = ids
                .into_iter()
                .filter_map(|id| id.into_bytes()?.try_into().ok())
                .collect();
            let Some(last) = ids.last() else { break };
            from = exclusive(last);
            let ids = ids.into_iter().map(Uuid::from_bytes);
            let headers = Command::new("EXISTS").args(ids.clone().map(header_of));
            let events = ids.map(|id| Command::new("ZCARD").arg(events_of(id)));
            let counts = self.server.run(std::iter::once(headers).chain(events))?;
            let mut counts = counts
                .iter()
                .filter_map(Reply::as_integer)
                .map(i64::unsigned_abs);
            stats.traces += counts.next().unwrap_or(0);
            stats.events += counts.sum::<u64>();
        }
        for (ascending, outermost) in [(true, &mut stats.oldest), (false, &mut stats.newest)] {
            query::walk(
                &self.server,
                Range {
                    ascending,
                    from: None,
                    to: None,
                },
                None,
                |found| {
                    *outermost = Some(found.header.start);
                    Ok(false)
                },
            )?;
        }
        Ok(stats)
    }

    fn health_check(&self) -> Result<()> {
        // Redis checks what a write needs, and then does not create the key.
        self.server
            .run_one(Command::new("SETRANGE").arg("health").number(0).arg(""))?;
        Ok(())
    }
}

/// Removes a trace with this start from both orders.
fn unlist(start: i64, id: Uuid) -> [Command; 2] {
    [true, false].map(|ascending| {
        Command::new("ZREM")
            .arg(order(ascending))
            .arg(place(start, id, ascending))
    })
}
