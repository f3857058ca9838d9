//! Group commit: writes that arrive during a commit share the next one, because a commit costs far more than a row.
//!
//! Every write goes through the [queue](reflow_tracing_storage::write_queue) to a few writers. Each takes a batch, stores it
//! with one statement for the events and one for the headers, and answers its callers after the commit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use sqlx::postgres::PgArguments;
use sqlx::{Connection, PgConnection, Postgres, Row};
use uuid::Uuid;

use super::catalog::use_catalog;
use super::connection::code;
use super::database::Database;
use super::header::{self, HeaderRow, Location};
use super::partition::{Missing, Partitions};
use super::placement::Moved;
use super::writer_session::WriterSession;
use super::{deletion, event};
use reflow_tracing_storage::sql::EventRow;
use reflow_tracing_storage::task::contain;
use reflow_tracing_storage::write_queue::{Batch, Batches, Entry, Limits, Size, Split, Workers};

/// The number of writers: large batches that are stored at the same time.
const WRITERS: u32 = 4;

const LIMITS: Limits = Limits {
    name: "the PostgreSQL writer",
    total: Size::new(40_000, 192 << 20),
    // Bounds how long a caller waits for its batch.
    batch: Size::new(2_000, STATEMENT_BYTES),
    full: Size::new(1_000, STATEMENT_BYTES / 2),
    at_once: WRITERS as usize,
    patience: None,
};
/// The approximate maximum of rows and bytes in one statement.
const STATEMENT_ROWS: usize = 5_000;
const STATEMENT_BYTES: usize = 32 << 20;
/// Batches of at least this many events use COPY, unless one of the events is stored already.
const COPY_ROWS: usize = 40;
/// The number of traces that are remembered as stored: more than are recorded at one time.
const KNOWN_TRACES: usize = 50_000;
/// How long a writer without work keeps its session.
const LULL: Duration = Duration::from_millis(5);
/// The maximum number of attempts to store a batch while other sessions interfere.
const ATTEMPTS: u32 = 10;

/// The rows of one write.
pub(super) struct Write {
    headers: Vec<HeaderRow>,
    events: Vec<EventRow>,
    size: Size,
}

impl Write {
    pub(super) fn new(headers: Vec<HeaderRow>, events: Vec<EventRow>) -> Self {
        let bytes = events.iter().map(EventRow::bytes).sum::<usize>() + headers.len() * HeaderRow::BYTES;
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
        self.headers.iter().map(|row| row.header.trace_id)
    }
}

/// Starts the tasks that store writes.
pub(super) fn start(database: &Arc<Database>, partitions: Option<&Arc<Partitions>>) -> Workers<Write> {
    let writers = WRITERS.min(database.primary.pool.options().get_max_connections());
    let task = Task {
        database: database.clone(),
        partitions: partitions.cloned(),
        known: Arc::new(Mutex::new(LruCache::new(KNOWN_TRACES))),
    };
    let limits = Limits { at_once: writers as usize, ..LIMITS };
    Workers::start("writing to PostgreSQL", limits, move |batches| task.clone().work(batches))
}

/// Why a batch was not stored.
enum Failure {
    /// An event is stored already, which COPY doesn't accept.
    Duplicate,
    /// Meanwhile, traces were deleted or a partition was dropped.
    Overtaken,
    NoPartition(Missing),
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        /// The server's error for a row without a partition.
        const CHECK_VIOLATION: &str = "23514";
        const UNIQUE_VIOLATION: &str = "23505";
        match code(&error).as_deref() {
            Some(CHECK_VIOLATION) => Self::Overtaken,
            Some(UNIQUE_VIOLATION) => Self::Duplicate,
            _ => Self::Sql(error),
        }
    }
}

#[derive(Clone)]
struct Task {
    database: Arc<Database>,
    partitions: Option<Arc<Partitions>>,
    /// Traces that have a location, unless they were deleted meanwhile.
    known: Arc<Mutex<LruCache<TraceId, ()>>>,
}

impl Task {
    async fn work(self, batches: Batches<Write>) {
        let mut session = None;
        while let Some(batch) = next(&batches, &mut session).await {
            // A panic affects only this batch, which is answered when it is dropped.
            contain(LIMITS.name, self.commit(&mut session, batch)).await;
        }
        release(&mut session).await;
    }

    async fn commit(&self, session: &mut Option<WriterSession>, batch: Batch<Write>) {
        let Batch { entries: writes, answers, .. } = batch;
        let mut split = Split::new(writes.len());
        while let Some(part) = split.next() {
            split.outcome(self.store(session, &writes[part]).await);
        }
        answers.send(split.outcomes().cloned());
        if session.as_ref().is_some_and(|session| session.is_due(&self.database)) {
            release(session).await;
        }
    }

    /// Stores a batch. Tries again if other sessions interfere.
    async fn store(&self, session: &mut Option<WriterSession>, writes: &[Write]) -> Result<(), StorageError> {
        let group = Group::new(writes);
        let (mut afresh, mut reconnected, mut copy) = (false, false, group.suits_copy());
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let acquired = match session.take() {
                Some(acquired) => acquired,
                None => WriterSession::acquire(&self.database).await?,
            };
            match self.try_store(session.insert(acquired), &group, afresh, copy).await {
                Ok(()) => {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    for trace_id in group.starts.keys() {
                        known.insert(*trace_id, ());
                    }
                    return Ok(());
                }
                Err(Failure::Overtaken) => {
                    afresh = true;
                    if let Some(partitions) = &self.partitions {
                        partitions.forget();
                    }
                }
                Err(Failure::Duplicate) if copy => copy = false,
                Err(Failure::Duplicate) => {
                    return Err(StorageError::Other {
                        message: "the tables have a unique index of another program".into(),
                        retryable: false,
                    });
                }
                // Only some of the events lack a partition, so the others can be stored.
                Err(Failure::NoPartition(missing)) => return Err(StorageError::InvalidArgument(missing.message())),
                Err(Failure::Sql(error)) => {
                    let conflict = matches!(code(&error).as_deref(), Some("40001" | "40P01"));
                    let lost = self.database.primary.is_lost(&error);
                    if lost {
                        // The pool tests and closes it.
                        *session = None;
                    }
                    if !conflict && (!lost || reconnected) {
                        return Err(self.database.primary.describe(error));
                    }
                    reconnected |= lost;
                    last = Some(error);
                }
            }
        }
        Err(last.map_or_else(
            || {
                StorageError::Unavailable(
                    "other sessions kept deleting the traces while their events were stored; try again".into(),
                )
            },
            |error| self.database.primary.describe(error),
        ))
    }

    /// With `afresh`, ignores what is remembered of traces and partitions. With `copy`, fails if an event is stored already.
    async fn try_store(
        &self,
        session: &mut WriterSession,
        group: &Group<'_>,
        afresh: bool,
        copy: bool,
    ) -> Result<(), Failure> {
        let unknown = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let starts = group.starts.iter().map(|(trace_id, at)| (*trace_id, *at));
            starts.filter(|(trace_id, _)| afresh || known.get(trace_id).is_none()).collect::<Vec<_>>()
        };
        if copy
            && unknown.is_empty()
            && let [events] = &group.events[..]
            && group.headers.is_empty()
        {
            let (connection, locations) = session.locked_locations(group.with_events.iter().copied()).await?;
            if self.partitions.is_some() {
                let mut transaction = connection.begin_with(concat!("BEGIN;", use_catalog!())).await?;
                send(&mut transaction, events, locations).await?;
                transaction.commit().await?;
            } else {
                send(connection, events, locations).await?;
            }
            return Ok(self.database.committed(connection).await?);
        }
        // Creating a partition waits for the lock of partitions, whose holder may wait to delete.
        session.unlock().await?;
        let connection = &mut *session.connection;
        let moved = match &self.partitions {
            Some(partitions) => ensure_partitions(connection, partitions, &unknown, afresh).await?,
            None => Moved::default(),
        };
        let new = unknown.iter().filter(|(trace_id, _)| group.with_events.contains(trace_id));
        let new: Vec<_> = new.map(|(trace_id, at)| (*trace_id, moved.place(*at))).collect();
        let statements = group.events.len() + usize::from(!group.headers.is_empty());
        if copy || statements > 1 {
            let mut transaction = deletion::begin_writing(connection, self.partitions.is_some()).await?;
            run(&mut transaction, group, &new, &moved, copy).await?;
            transaction.commit().await?;
        } else {
            run(connection, group, &new, &moved, copy).await?;
        }
        Ok(self.database.committed(connection).await?)
    }
}

/// The next batch; `None` at the end. Keeps the session while writes follow one another.
async fn next(batches: &Batches<Write>, session: &mut Option<WriterSession>) -> Option<Batch<Write>> {
    if session.is_some() {
        if let Ok(next) = tokio::time::timeout(LULL, batches.next()).await {
            return next;
        }
        release(session).await;
    }
    batches.next().await
}

async fn release(session: &mut Option<WriterSession>) {
    if let Some(session) = session.take() {
        session.release().await;
    }
}

/// The rows of a batch.
struct Group<'a> {
    /// The earliest known time of each trace, which determines its partition.
    starts: BTreeMap<TraceId, i64>,
    /// The last header of each trace.
    headers: Vec<&'a HeaderRow>,
    /// The events of each statement. Of equal keys, the first: the server doesn't keep their order.
    events: Vec<Vec<&'a EventRow>>,
    /// The traces of the events.
    with_events: HashSet<TraceId>,
}

impl<'a> Group<'a> {
    fn new(writes: &'a [Write]) -> Self {
        let mut group =
            Self { starts: BTreeMap::new(), headers: Vec::new(), events: Vec::new(), with_events: HashSet::new() };
        let mut bytes = 0;
        let mut taken = HashSet::with_capacity(writes.iter().map(|write| write.events.len()).sum());
        for event in writes.iter().flat_map(|write| &write.events) {
            let (at, _) = event.key();
            if !taken.insert((event.trace_id, event.key())) {
                continue;
            }
            group.with_events.insert(event.trace_id);
            group.starts.entry(event.trace_id).and_modify(|first| *first = at.min(*first)).or_insert(at);
            match group.events.last_mut() {
                Some(part) if part.len() < STATEMENT_ROWS && bytes < STATEMENT_BYTES => part.push(event),
                _ => {
                    bytes = 0;
                    group.events.push(vec![event]);
                }
            }
            bytes += event.bytes();
        }
        let headers: BTreeMap<_, _> =
            writes.iter().flat_map(|write| &write.headers).map(|row| (row.header.trace_id, row)).collect();
        group.starts.extend(headers.iter().map(|(trace_id, row)| (*trace_id, row.placed_at())));
        group.headers = headers.into_values().collect();
        group
    }

    /// Whether COPY is faster although it takes more round trips.
    fn suits_copy(&self) -> bool {
        self.events.iter().map(Vec::len).sum::<usize>() >= COPY_ROWS
    }
}

async fn ensure_partitions(
    connection: &mut PgConnection,
    partitions: &Partitions,
    unknown: &[(TraceId, i64)],
    afresh: bool,
) -> Result<Moved, Failure> {
    if !afresh && unknown.iter().all(|(_, at)| partitions.covers(*at)) {
        return Ok(Moved::default());
    }
    // A trace that is stored keeps its partition, regardless of the times in this batch.
    let ids: Vec<Uuid> = unknown.iter().map(|(trace_id, _)| trace_id.0).collect();
    let rows = sqlx::query("SELECT trace_id, placed_at FROM trace WHERE trace_id = ANY($1)")
        .bind(ids)
        .fetch_all(&mut *connection)
        .await?;
    let mut starts: BTreeMap<TraceId, i64> = unknown.iter().copied().collect();
    for row in rows {
        starts.insert(TraceId(row.try_get(0)?), row.try_get(1)?);
    }
    let times: Vec<i64> = starts.into_values().collect();
    partitions.ensure(connection, &times).await?.map_err(Failure::NoPartition)
}

/// Stores the events first, so that a reader who sees a new trace sees its events.
async fn run(
    connection: &mut PgConnection,
    group: &Group<'_>,
    new: &[(TraceId, i64)],
    moved: &Moved,
    copy: bool,
) -> Result<(), Failure> {
    if copy {
        copy_events(connection, group, new).await?;
    } else {
        let mut new = new;
        for events in &group.events {
            let mut ids: Vec<Uuid> = events.iter().map(|event| event.trace_id.0).collect();
            ids.extend(new.iter().map(|(trace_id, _)| trace_id.0));
            ids.sort_unstable();
            ids.dedup();
            let expected = ids.len();
            let query = bind_new(sqlx::query(include_str!("sql/store_events.sql")).bind(ids), new);
            let found: i64 = event::bind(query, events).fetch_one(&mut *connection).await?.try_get(0)?;
            if usize::try_from(found) != Ok(expected) {
                return Err(Failure::Overtaken);
            }
            new = &[];
        }
    }
    if !group.headers.is_empty() {
        let query = sqlx::query(include_str!("sql/store_traces.sql"));
        header::bind(query, &group.headers, moved).execute(connection).await?;
    }
    Ok(())
}

async fn copy_events(connection: &mut PgConnection, group: &Group<'_>, new: &[(TraceId, i64)]) -> Result<(), Failure> {
    let ids: Vec<Uuid> = group.with_events.iter().map(|trace_id| trace_id.0).collect();
    let mut locations = HashMap::with_capacity(ids.len());
    let query = if new.is_empty() {
        // Cheaper: a statement that may insert opens every index of the table first.
        sqlx::query(include_str!("sql/get_locations.sql")).bind(ids)
    } else {
        bind_new(sqlx::query(include_str!("sql/add_locations.sql")).bind(ids), new)
    };
    for row in query.fetch_all(&mut *connection).await? {
        locations.insert(TraceId(row.try_get(2)?), Location::read(&row)?);
    }
    for events in &group.events {
        send(connection, events, &locations).await?;
    }
    Ok(())
}

async fn send(
    connection: &mut PgConnection,
    events: &[&EventRow],
    locations: &HashMap<TraceId, Location>,
) -> Result<(), Failure> {
    let placed = events.iter().map(|row| locations.get(&row.trace_id).map(|location| (*location, *row)));
    let mut rows: Vec<_> = placed.collect::<Option<_>>().ok_or(Failure::Overtaken)?;
    // All writers insert in this order, which prevents deadlocks.
    rows.sort_by_key(|(location, row)| (location.sequence, row.key()));
    Ok(event::copy(connection, &rows).await?)
}

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// Binds the new traces and the times of their partitions.
fn bind_new<'q>(query: Query<'q>, new: &[(TraceId, i64)]) -> Query<'q> {
    let (ids, starts): (Vec<Uuid>, Vec<i64>) = new.iter().map(|(trace_id, at)| (trace_id.0, *at)).unzip();
    query.bind(ids).bind(starts)
}
