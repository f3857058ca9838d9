//! A storage plugin for Redis, 7.0 or newer: a complete backend over the `redis` capability.
//!
//! Grant it a server under the label `default`:
//!
//! ```toml
//! [plugins.redis]
//! grants = { redis = { default = "redis://127.0.0.1:6379/0" } }
//! config = { ttl_seconds = 3600 }     # without it, traces never expire
//! ```
//!
//! [`key`] documents the keys. Events never enter the plugin: the host fills them into commands (`pipeline-batch`), and builds
//! a batch from the answers (`query-events`). An acknowledged write is as durable as the server's configuration makes it
//! (`appendonly`). A server that evicts keys loses traces.

mod about;
mod actors;
mod duration;
mod header;
mod index;
mod key;
mod layout;
mod lifetime;
mod place;
mod remove;
mod search;
mod settings;
mod walk;

use std::collections::BTreeMap;

use about::About;
use header::Header;
use index::{Known, TRACES_A_TRANSACTION, TRIES};
use lifetime::{Lifetime, of_events};
use place::checked_token;
use reflow_tracing_plugin::redis::{Command, Connection, Part, Reply, Template, field, fixed, sortable};
use reflow_tracing_plugin::{
    Backend, Column, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace, TracePage,
    TraceQuery, Uuid, export,
};
use settings::Settings;

export!(Redis);

/// Keys per command, and traces per round trip.
const KEYS_A_CALL: usize = 500;
/// Minimum expired traces that a write removes from the indexes: more than it adds, so that they don't accumulate.
const LEAST_SWEPT: usize = 16;

struct Redis {
    server: Connection,
    settings: Settings,
}

impl Backend for Redis {
    fn open(config: &str) -> Result<Self> {
        let settings = Settings::parse(config)?;
        let server = Connection::open("default")?;
        layout::check(&server)?;
        Ok(Self { settings, server })
    }

    fn info(&self) -> Info {
        Info { name: "redis".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    fn store_traces(&self, traces: Vec<Trace>) -> Result<()> {
        // The last header of a trace wins.
        let traces: BTreeMap<_, _> = traces.into_iter().map(|trace| (trace.trace_id.to_bytes(), trace)).collect();
        let traces: Vec<_> = traces.into_values().collect();
        let lifetime = Lifetime::from_now(&self.server, &self.settings)?;
        let ids: Vec<_> = traces.iter().map(|trace| trace.trace_id).collect();
        remove::sweep_these(&self.server, lifetime, &ids)?;
        for traces in traces.chunks(TRACES_A_TRANSACTION) {
            self.replace_headers(traces, lifetime)?;
        }
        remove::sweep(&self.server, lifetime, LEAST_SWEPT.max(2 * traces.len()))
    }

    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let ids = distinct_traces(events)?;
        let lifetime = Lifetime::from_now(&self.server, &self.settings)?;
        remove::sweep_these(&self.server, lifetime, &ids)?;
        // Before the events, so that nothing of these traces expires meanwhile, and they are listed even if the write fails.
        for ids in ids.chunks(KEYS_A_CALL) {
            let all = |id: &Uuid| lifetime.extend(of_events(*id).into_iter().chain([key::trace(*id)]));
            let each = ids.iter().flat_map(|id| [lifetime.note(*id)].into_iter().chain(all(id)));
            self.server.run([layout::note()].into_iter().chain(each))?;
        }
        self.server.run_batch_unless(is_stored(), store_event(), events)?;
        // After the events, for new keys, and in case the trace was deleted meanwhile.
        for ids in ids.chunks(KEYS_A_CALL) {
            let added = |id: &Uuid| match lifetime {
                Lifetime::Forever => Vec::new(),
                Lifetime::Until { .. } => lifetime.extend(of_events(*id)).collect(),
            };
            let each = ids.iter().flat_map(|id| [lifetime.note(*id)].into_iter().chain(added(id)));
            let headers = self.server.run([index::headers(ids)].into_iter().chain(each))?.swap_remove(0);
            index::add_events(&self.server, ids, headers, events)?;
        }
        remove::sweep(&self.server, lifetime, LEAST_SWEPT.max(2 * ids.len()))
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(KEYS_A_CALL) {
            let read = Command::new("MGET").args(ids.iter().map(|id| key::trace(*id)));
            found.extend(self.server.run_one(read)?.into_elements().into_iter().map(Reply::into_bytes));
        }
        Ok(found)
    }

    fn query_traces(&self, query: TraceQuery, page: PageRequest) -> Result<TracePage> {
        search::page(&self.server, &query, &page)
    }

    fn get_events(&self, trace_id: Uuid, page: PageRequest) -> Result<EventPage> {
        let mut from = match &page.token {
            None => b"-".to_vec(),
            Some(token) => [b"(", checked_token(token)?].concat(),
        };
        let mut offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
        loop {
            // One more than requested shows whether there are more.
            let range = Command::new("ZRANGE").arg(key::events(trace_id)).arg(from).arg("+").arg("BYLEX");
            let range = range.arg("LIMIT").number(offset).number(i64::from(page.limit) + 1);
            let places = self.server.run_one(range)?.into_elements();
            let mut places: Vec<_> = places.into_iter().filter_map(Reply::into_bytes).collect();
            let more = places.len() > page.limit as usize;
            places.truncate(page.limit as usize);
            let Some(last) = places.last().cloned() else {
                return Ok(EventPage { events: EventBatch::new(), next: None });
            };
            let bodies = Command::new("HMGET").arg(key::bodies(trace_id)).args(places);
            let events = self.server.run_for_events([bodies])?;
            // All of these events are incomplete or were deleted just now, but later ones may exist.
            if events.len() == 0 && more {
                (from, offset) = ([b"(", &*last].concat(), 0);
                continue;
            }
            return Ok(EventPage { events, next: Some(last).filter(|_| more) });
        }
    }

    fn delete_traces(&self, ids: Vec<Uuid>) -> Result<u64> {
        remove::delete(&self.server, ids)
    }

    /// Counts trace by trace, without expired traces that are still in the indexes.
    fn stats(&self) -> Result<Stats> {
        let mut stats =
            Stats { traces: 0, events: 0, bytes: None, oldest: self.outermost(true)?, newest: self.outermost(false)? };
        let mut next = 0;
        loop {
            let end = next + KEYS_A_CALL as i64;
            let ids = Command::new("ZRANGE").arg(key::TRACES).number(next).number(end - 1);
            let ids = self.server.run_one(ids)?.into_elements();
            let ids = ids.into_iter().filter_map(|id| Some(Uuid::from_bytes(id.into_bytes()?.try_into().ok()?)));
            let ids: Vec<_> = ids.collect();
            if ids.is_empty() {
                return Ok(stats);
            }
            let headers = Command::new("EXISTS").args(ids.iter().map(|id| key::trace(*id)));
            let events = ids.iter().map(|id| Command::new("HLEN").arg(key::bodies(*id)));
            let counts = self.server.run(std::iter::once(headers).chain(events))?;
            let mut counts = counts.iter().filter_map(Reply::as_integer).map(|count| count.unsigned_abs());
            stats.traces += counts.next().unwrap_or(0);
            stats.events += counts.sum::<u64>();
            next = end;
        }
    }

    fn health_check(&self) -> Result<()> {
        // Redis checks what a write needs (it is not a replica, has memory, and its disk works), and then does not create the
        // key.
        self.server.run_one(Command::new("SETRANGE").arg("health").number(0).arg(""))?;
        Ok(())
    }
}

impl Redis {
    /// Stores headers of different traces, and updates the indexes.
    fn replace_headers(&self, traces: &[Trace], lifetime: Lifetime) -> Result<()> {
        let ids: Vec<_> = traces.iter().map(|trace| trace.trace_id).collect();
        for _ in 0..TRIES {
            let old = index::read(&self.server, &ids)?;
            let unchanged: Vec<_> = old.iter().map(Known::unchanged).collect();
            let new = old.iter().zip(traces).map(|(old, trace)| old.with(Some(Header::of(trace))));
            let new = new.collect::<Result<Vec<_>>>()?;
            // Their answers show the events that were stored meanwhile.
            let mut commands: Vec<_> = ids.iter().copied().map(about::read).collect();
            commands.push(layout::note());
            for ((trace, old), new) in traces.iter().zip(&old).zip(&new) {
                commands.extend(old.leave());
                commands.extend(new.enter());
                commands.push(lifetime.set(key::trace(new.id), trace.body.clone()));
                commands.push(lifetime.note(new.id));
                commands.extend(lifetime.extend(of_events(new.id)));
            }
            if let Some(abouts) = self.server.run_if(&unchanged, commands)? {
                for ((old, new), about) in old.into_iter().zip(new).zip(abouts) {
                    index::catch_up(&self.server, old, new, About::of(about)?)?;
                }
                return Ok(());
            }
        }
        Err(index::contended())
    }

    /// The earliest or the latest start.
    fn outermost(&self, ascending: bool) -> Result<Option<i64>> {
        let query = TraceQuery { ascending, ..all() };
        Ok(search::first(&self.server, &query, None, 0, 1)?.first().map(|found| found.place.start))
    }
}

/// The query that every trace matches.
fn all() -> TraceQuery {
    TraceQuery {
        flow_id: None,
        execution_id: None,
        start_from: None,
        start_to: None,
        status: None,
        error: None,
        actor: None,
        event_types: None,
        tags: Vec::new(),
        min_duration: None,
        max_duration: None,
        has_error: None,
        ascending: false,
        more: Vec::new(),
    }
}

/// Whether an event is stored. Of two events with the same identity, the first stays, also in the summary.
fn is_stored() -> Template {
    Template::new("HEXISTS").arg([fixed("bodies:"), field("trace-id")]).arg(place())
}

/// Stores an event. The body makes it count as stored, so it comes last: after an interruption, the whole event is stored
/// again.
fn store_event() -> [Template; 3] {
    [
        // First, or the summary could be mistaken for the rest of an expired trace.
        Template::new("ZADD").arg([fixed("events:"), field("trace-id")]).arg([fixed("0")]).arg(place()),
        about::remember(),
        Template::new("HSETNX").arg([fixed("bodies:"), field("trace-id")]).arg(place()).arg([field("body")]),
    ]
}

/// The place of an event within its trace.
fn place() -> [Part; 2] {
    [sortable("timestamp"), sortable("event-id")]
}

/// The traces that the events belong to.
fn distinct_traces(events: &EventBatch) -> Result<Vec<Uuid>> {
    let column = events.columns(&["trace-id".into()]).map_err(StorageError::other)?.pop();
    let Some(Column::Uuids(halves)) = column else {
        return Err(StorageError::other("the host's column `trace-id` does not have UUIDs"));
    };
    let mut ids: Vec<_> = halves.chunks_exact(2).map(|half| (half[0], half[1])).collect();
    // Neighbours are mostly equal, so this makes the sort cheap.
    ids.dedup();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids.into_iter().map(|(high, low)| Uuid { high, low }).collect())
}
