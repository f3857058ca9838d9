//! Inserts batches into the tables.
//!
//! A statement inserts into one partition of one table, and its rows are one block, which the server stores completely or not at
//! all. A statement whose outcome is unknown is sent again with the same deduplication token, so the server and the materialized
//! views of the table don't store it twice.

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
use reflow_tracing_storage::write_queue::{Entry, Size};
use serde::Deserialize;
use uuid::Uuid;

use super::connection::Server;
use super::event::{EventRow, Id, uuid};
use super::header::HeaderRow;
use super::literal;
use super::lookup::Span;
use super::repeats::Repeats;

/// The approximate maximum size of a statement in bytes.
pub(super) const MAX_BYTES: usize = 32 << 20;
/// Pauses before a statement is sent again.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_millis(1_000)];
/// The number of statements of a batch that are sent at the same time.
const AT_ONCE: usize = 4;

const DAY: i64 = 86_400_000_000_000;

/// The approximate size of a typical header in memory.
const HEADER_BYTES: usize = 1024;

/// The rows of one write.
pub(super) struct Write {
    headers: Vec<FlowTrace>,
    events: Vec<(TraceId, TraceEvent)>,
    size: Size,
}

impl Write {
    pub(super) fn new(headers: Vec<FlowTrace>, events: Vec<(TraceId, TraceEvent)>) -> Self {
        let bytes =
            events.iter().map(|(_, event)| event.approximate_bytes()).sum::<usize>() + headers.len() * HEADER_BYTES;
        Self { size: Size::new(headers.len() + events.len(), bytes), headers, events }
    }
}

impl Entry for Write {
    type Answer = Result<(), StorageError>;

    fn size(&self) -> Size {
        self.size
    }

    /// A header replaces the earlier one, so headers of a trace keep their order. The order of events makes no difference.
    fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.headers.iter().map(|header| header.trace_id)
    }
}

/// Inserts batches.
pub(super) struct Store {
    server: Arc<Server>,
    batch_size: usize,
    repeats: Repeats,
    /// When this was opened, in nanoseconds since 1970.
    opened: i64,
}

/// An event of a statement.
struct NewEvent<'a> {
    trace_id: TraceId,
    event: &'a TraceEvent,
    /// The hash of its key.
    hash: u64,
    /// Whether it is stored already.
    repeated: bool,
}

/// The key of a stored event.
#[derive(Row, Deserialize)]
struct StoredKey {
    trace_id: Id,
    timestamp: i64,
    event_id: Id,
}

impl StoredKey {
    fn key(&self) -> (TraceId, EventKey) {
        (TraceId(uuid(self.trace_id)), (self.timestamp, EventId(uuid(self.event_id))))
    }
}

/// The rows of one statement.
enum Rows<'a> {
    Events(Vec<NewEvent<'a>>),
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

    /// Stores the events first, so that a reader who sees a new trace sees its events.
    pub(super) async fn store(&self, writes: &[Write]) -> Result<(), StorageError> {
        let events = self.events(writes).await?;
        self.insert_all(events).await?;
        self.insert_all(headers(writes, self.batch_size)).await
    }

    async fn insert_all(&self, statements: Vec<Rows<'_>>) -> Result<(), StorageError> {
        let mut waiting = statements.into_iter();
        let mut in_flight: FuturesUnordered<_> = waiting.by_ref().take(AT_ONCE).map(|rows| self.insert(rows)).collect();
        while let Some(outcome) = in_flight.next().await {
            outcome?;
            in_flight.extend(waiting.next().map(|rows| self.insert(rows)));
        }
        Ok(())
    }

    /// The events of these writes, each once, in statements of one partition.
    async fn events<'a>(&self, writes: &'a [Write]) -> Result<Vec<Rows<'a>>, StorageError> {
        let mut events = self.distinct(writes);
        self.look_up_doubtful(&mut events).await?;
        let mut partitions: BTreeMap<i64, Vec<NewEvent<'a>>> = BTreeMap::new();
        for event in events {
            partitions.entry(time::nanos(event.event.timestamp).div_euclid(DAY)).or_default().push(event);
        }
        let mut statements = Vec::new();
        for events in partitions.into_values() {
            let (mut part, mut size) = (Vec::new(), 0);
            for event in events {
                size += event.event.approximate_bytes();
                part.push(event);
                if part.len() >= self.batch_size || size >= MAX_BYTES {
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

    /// The events of these writes. Of equal keys, the first.
    fn distinct<'a>(&self, writes: &'a [Write]) -> Vec<NewEvent<'a>> {
        let events = || writes.iter().flat_map(|write| &write.events);
        let mut distinct: Vec<NewEvent<'a>> = self
            .repeats
            .look(events().map(|(trace_id, event)| (*trace_id, event.key())))
            .zip(events())
            .map(|((hash, repeated), (trace_id, event))| NewEvent { trace_id: *trace_id, event, hash, repeated })
            .collect();
        let mut hashes: Vec<u64> = distinct.iter().map(|event| event.hash).collect();
        hashes.sort_unstable();
        // Most batches contain no key twice, and the hashes show that.
        if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
            let mut keys = HashSet::with_capacity(distinct.len());
            distinct.retain(|event| keys.insert((event.trace_id, event.event.key())));
        }
        distinct
    }

    /// Looks up which events are stored, if that is in doubt: their last statement failed without a clear outcome, or they
    /// happened before this store was opened, so that another process may have stored them.
    async fn look_up_doubtful(&self, events: &mut [NewEvent<'_>]) -> Result<(), StorageError> {
        /// Traces per statement.
        const AT_ONCE: usize = 10_000;
        let mut doubtful: BTreeMap<TraceId, Vec<usize>> = BTreeMap::new();
        for number in self.repeats.doubtful(events.iter().map(|event| event.hash)) {
            doubtful.entry(events[number].trace_id).or_default().push(number);
        }
        for (number, event) in events.iter().enumerate() {
            if !event.repeated && time::nanos(event.event.timestamp) < self.opened {
                doubtful.entry(event.trace_id).or_default().push(number);
            }
        }
        let doubtful: Vec<_> = doubtful.into_iter().collect();
        for doubtful in doubtful.chunks(AT_ONCE) {
            let numbers = || doubtful.iter().flat_map(|(_, numbers)| numbers);
            let span = Span::of(numbers().map(|number| time::nanos(events[*number].event.timestamp)));
            let sql = format!(
                "SELECT trace_id, timestamp, event_id FROM {} WHERE {} AND trace_id IN {}",
                self.server.tables.events,
                span.contains("timestamp"),
                literal::ids(doubtful.iter().map(|(trace_id, _)| *trace_id))
            );
            let stored: Vec<StoredKey> = self.server.rows(&sql).await?;
            let stored: HashSet<(TraceId, EventKey)> = stored.iter().map(StoredKey::key).collect();
            for number in numbers() {
                let event = &mut events[*number];
                event.repeated = stored.contains(&(event.trace_id, event.event.key()));
            }
        }
        Ok(())
    }

    async fn insert(&self, rows: Rows<'_>) -> Result<(), StorageError> {
        let outcome = self.persist(&rows).await;
        if let Rows::Events(events) = &rows {
            let hashes = events.iter().map(|event| event.hash);
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
        let mut pauses = PAUSES.into_iter();
        loop {
            self.server.check_open()?;
            let error = match self.send(rows, &token).await {
                Ok(()) => return Ok(()),
                Err(Failure::Row(error)) => return Err(error),
                Err(Failure::Server(error)) => self.server.describe(error),
            };
            match pauses.next() {
                Some(pause) if error.is_retryable() => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    async fn send(&self, rows: &Rows<'_>, token: &str) -> Result<(), Failure> {
        const TOKEN: &str = "insert_deduplication_token";
        let Server { client, tables, .. } = &*self.server;
        match rows {
            Rows::Events(events) => {
                let insert = client.insert_unescaped::<EventRow<'_>>(&tables.events).await?;
                let mut insert = insert.with_setting(TOKEN, token);
                for NewEvent { trace_id, event, repeated, .. } in events {
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

/// The last header of each trace, in statements of one partition.
fn headers(writes: &[Write], batch_size: usize) -> Vec<Rows<'_>> {
    let last: HashMap<TraceId, &FlowTrace> =
        writes.iter().flat_map(|write| &write.headers).map(|header| (header.trace_id, header)).collect();
    let mut partitions: BTreeMap<(i32, u32), Vec<&FlowTrace>> = BTreeMap::new();
    for header in last.into_values() {
        let start = DateTime::from_timestamp_nanos(time::nanos(header.start_time));
        partitions.entry((start.year(), start.month())).or_default().push(header);
    }
    let parts = partitions.values().flat_map(|headers| headers.chunks(batch_size));
    parts.map(|headers| Rows::Headers(headers.to_vec())).collect()
}
