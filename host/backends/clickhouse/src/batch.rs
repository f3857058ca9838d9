//! Batches on their way into the tables.
//!
//! A statement inserts into one partition of one table, and its rows are one block: the server stores it whole or not at all.
//! It carries a token by which the server, and the views behind the table, know it again when it is sent again because nobody
//! knows whether it got there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use clickhouse::Row;
use clickhouse::error::Error;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reflow_tracing_model::{EventId, EventKey, FlowTrace, TraceEvent, TraceId, time};
use reflow_tracing_storage::StorageError;
use serde::Deserialize;
use uuid::Uuid;

use super::connection::Server;
use super::event::{EventRow, Id};
use super::header::HeaderRow;
use super::literal;
use super::lookup::Span;
use super::repeats::Repeats;
use super::writer::Job;

/// A batch takes no more events once it has so many bytes, more or less.
pub(super) const MOST_BYTES: usize = 32 << 20;
/// How long to wait before a statement is sent again.
const WAITS: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_millis(1_000)];
/// Statements of a batch that are under way at the same time.
const AT_ONCE: usize = 4;

const DAY: i64 = 86_400_000_000_000;

/// About the bytes that it takes to send an event.
pub(super) fn bytes(event: &TraceEvent) -> usize {
    let data = &event.data;
    let message = data.message.as_ref().map_or(0, |message| message.serialized_data.len());
    let state =
        data.state_diff.as_ref().map_or(0, |state| state.after.len() + state.before.as_ref().map_or(0, Vec::len));
    let attributes = data.custom_attributes.values().map(|value| match value {
        serde_json::Value::String(text) => text.len(),
        _ => 64,
    });
    200 + message + state + attributes.sum::<usize>() + data.error.as_ref().map_or(0, String::len)
}

/// Puts batches into the tables.
pub(super) struct Store {
    server: Arc<Server>,
    batch_size: usize,
    repeats: Repeats,
    /// When, in nanoseconds since 1970.
    opened: i64,
}

/// An event of a statement.
struct Entry<'a> {
    trace_id: TraceId,
    event: &'a TraceEvent,
    hash: u64,
    repeated: bool,
}

/// What identifies a stored event.
#[derive(Row, Deserialize)]
struct StoredKey {
    trace_id: Id,
    timestamp: i64,
    event_id: Id,
}

impl StoredKey {
    fn key(&self) -> (TraceId, EventKey) {
        let uuid = |id: Id| Uuid::from_u64_pair(id.0, id.1);
        (TraceId(uuid(self.trace_id)), (self.timestamp, EventId(uuid(self.event_id))))
    }
}

/// The rows of one statement.
enum Rows<'a> {
    Events(Vec<Entry<'a>>),
    Headers(Vec<&'a FlowTrace>),
}

enum Failure {
    Server(Error),
    Row(StorageError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl Store {
    pub(super) fn new(server: Arc<Server>, batch_size: usize) -> Self {
        Self { server, batch_size, repeats: Repeats::default(), opened: time::nanos(Utc::now()) }
    }

    /// Stores jobs. Events before headers: whoever sees a new trace sees its events.
    pub(super) async fn store(&self, jobs: &[Job]) -> Result<(), StorageError> {
        let events = self.events(jobs).await?;
        self.insert_all(events).await?;
        self.insert_all(headers(jobs, self.batch_size)).await
    }

    async fn insert_all(&self, statements: Vec<Rows<'_>>) -> Result<(), StorageError> {
        let mut waiting = statements.into_iter();
        let mut under_way: FuturesUnordered<_> = waiting.by_ref().take(AT_ONCE).map(|rows| self.insert(rows)).collect();
        while let Some(outcome) = under_way.next().await {
            outcome?;
            under_way.extend(waiting.next().map(|rows| self.insert(rows)));
        }
        Ok(())
    }

    /// The events of jobs, each once, by partition, in statements that are not too large.
    async fn events<'a>(&self, jobs: &'a [Job]) -> Result<Vec<Rows<'a>>, StorageError> {
        let mut entries = self.entries(jobs);
        self.ask_about_doubtful(&mut entries).await?;
        let mut partitions: BTreeMap<i64, Vec<Entry<'a>>> = BTreeMap::new();
        for entry in entries {
            partitions.entry(time::nanos(entry.event.timestamp).div_euclid(DAY)).or_default().push(entry);
        }
        let mut statements = Vec::new();
        for entries in partitions.into_values() {
            let (mut part, mut size) = (Vec::new(), 0);
            for entry in entries {
                size += bytes(entry.event);
                part.push(entry);
                if part.len() >= self.batch_size || size >= MOST_BYTES {
                    statements.push(Rows::Events(std::mem::take(&mut part)));
                    size = 0;
                }
            }
            if !part.is_empty() {
                statements.push(Rows::Events(part));
            }
        }
        Ok(statements)
    }

    /// Of events with one key, the first.
    fn entries<'a>(&self, jobs: &'a [Job]) -> Vec<Entry<'a>> {
        let events = || jobs.iter().flat_map(|job| &job.events);
        let mut entries: Vec<Entry<'a>> = self
            .repeats
            .look(events().map(|(trace_id, event)| (*trace_id, event.key())))
            .zip(events())
            .map(|((hash, repeated), (trace_id, event))| Entry { trace_id: *trace_id, event, hash, repeated })
            .collect();
        let mut hashes: Vec<u64> = entries.iter().map(|entry| entry.hash).collect();
        hashes.sort_unstable();
        // Most batches hold nothing twice, which hashes are enough to tell.
        if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
            let mut keys = HashSet::with_capacity(entries.len());
            entries.retain(|entry| keys.insert((entry.trace_id, entry.event.key())));
        }
        entries
    }

    /// Finds out which of those events are stored that may be: whose last statement failed in a way that does not tell, and
    /// which happened before this store was opened, so that another process may have stored them.
    async fn ask_about_doubtful(&self, entries: &mut [Entry<'_>]) -> Result<(), StorageError> {
        /// Ids of one statement.
        const AT_ONCE: usize = 10_000;
        let mut doubtful: BTreeMap<TraceId, Vec<usize>> = BTreeMap::new();
        for number in self.repeats.doubtful(entries.iter().map(|entry| entry.hash)) {
            doubtful.entry(entries[number].trace_id).or_default().push(number);
        }
        for (number, entry) in entries.iter().enumerate() {
            if !entry.repeated && time::nanos(entry.event.timestamp) < self.opened {
                doubtful.entry(entry.trace_id).or_default().push(number);
            }
        }
        let doubtful: Vec<_> = doubtful.into_iter().collect();
        for doubtful in doubtful.chunks(AT_ONCE) {
            let numbers = || doubtful.iter().flat_map(|(_, numbers)| numbers);
            let span = Span::of(numbers().map(|number| time::nanos(entries[*number].event.timestamp)));
            let sql = format!(
                "SELECT trace_id, timestamp, event_id FROM {} WHERE {} AND trace_id IN {}",
                self.server.tables.events,
                span.contains("timestamp"),
                literal::ids(doubtful.iter().map(|(trace_id, _)| *trace_id))
            );
            let stored: Vec<StoredKey> = self.server.rows(&sql).await?;
            let stored: HashSet<(TraceId, EventKey)> = stored.iter().map(StoredKey::key).collect();
            for number in numbers() {
                let entry = &mut entries[*number];
                entry.repeated = stored.contains(&(entry.trace_id, entry.event.key()));
            }
        }
        Ok(())
    }

    async fn insert(&self, rows: Rows<'_>) -> Result<(), StorageError> {
        let outcome = self.persist(&rows).await;
        if let Rows::Events(entries) = &rows {
            let hashes = entries.iter().map(|entry| entry.hash);
            match &outcome {
                Ok(()) => self.repeats.stored(hashes),
                Err(_) => self.repeats.in_doubt(hashes),
            }
        }
        outcome
    }

    /// Sends a statement until the server has stored it, the error is not transient, or all attempts have failed.
    async fn persist(&self, rows: &Rows<'_>) -> Result<(), StorageError> {
        let token = Uuid::new_v4().to_string();
        let mut waits = WAITS.into_iter();
        loop {
            self.server.check_open()?;
            let error = match self.send(rows, &token).await {
                Ok(()) => return Ok(()),
                Err(Failure::Row(error)) => return Err(error),
                Err(Failure::Server(error)) => self.server.describe(error),
            };
            match waits.next() {
                Some(wait) if error.is_retryable() => tokio::time::sleep(wait).await,
                _ => return Err(error),
            }
        }
    }

    async fn send(&self, rows: &Rows<'_>, token: &str) -> Result<(), Failure> {
        const TOKEN: &str = "insert_deduplication_token";
        let (client, tables) = (self.server.client(), &self.server.tables);
        match rows {
            Rows::Events(entries) => {
                let insert = client.insert_unescaped::<EventRow<'_>>(&tables.events).await?;
                let mut insert = insert.with_setting(TOKEN, token);
                for Entry { trace_id, event, repeated, .. } in entries {
                    let row = EventRow::new(*trace_id, event, *repeated).map_err(Failure::Row)?;
                    self.server.within_limit(insert.write(&row)).await?;
                }
                Ok(self.server.within_limit(insert.end()).await?)
            }
            Rows::Headers(headers) => {
                let insert = client.insert_unescaped::<HeaderRow<'_>>(&tables.traces).await?;
                let mut insert = insert.with_setting(TOKEN, token);
                for header in headers {
                    let row = HeaderRow::new(header).map_err(Failure::Row)?;
                    self.server.within_limit(insert.write(&row)).await?;
                }
                Ok(self.server.within_limit(insert.end()).await?)
            }
        }
    }
}

/// The last header of each trace, by partition, in statements that are not too large.
fn headers(jobs: &[Job], batch_size: usize) -> Vec<Rows<'_>> {
    let last: HashMap<TraceId, &FlowTrace> =
        jobs.iter().flat_map(|job| &job.headers).map(|header| (header.trace_id, header)).collect();
    let mut partitions: BTreeMap<(i32, u32), Vec<&FlowTrace>> = BTreeMap::new();
    for header in last.into_values() {
        let start = DateTime::from_timestamp_nanos(time::nanos(header.start_time));
        partitions.entry((start.year(), start.month())).or_default().push(header);
    }
    let parts = partitions.values().flat_map(|headers| headers.chunks(batch_size));
    parts.map(|headers| Rows::Headers(headers.to_vec())).collect()
}
