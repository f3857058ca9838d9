//! Group commit: what waits while others commit makes the next commit.
//!
//! A commit costs far more than a row. Every write goes through the [queue](reflow_tracing_storage::write_queue) to a few
//! writers, each of which takes a batch, stores it with one statement for the events and one for the headers, and answers
//! everyone once that is committed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use sqlx::postgres::PgArguments;
use sqlx::{Connection, PgConnection, Postgres, Row};
use uuid::Uuid;

use super::connection::{Server, code};
use super::event::{self, EventRow};
use super::header::{self, HeaderRow, Place};
use super::kept::Kept;
use super::partition::{Missing, Partitions, use_catalog};
use super::{copy, deletion};
use reflow_tracing_storage::refusals::Refusals;
use reflow_tracing_storage::task::{Supervised, TaskHealth, contain};
use reflow_tracing_storage::write_queue::{Batch, Batches, Entry, Limits, Size, Split, WriteQueue};

/// Large groups that are stored at the same time.
const WRITERS: u32 = 4;

const LIMITS: Limits = Limits {
    name: "the PostgreSQL writer",
    total: Size::new(40_000, 192 << 20),
    // So that no one waits too long for a group.
    batch: Size::new(2_000, STATEMENT_BYTES),
    full: Size::new(1_000, STATEMENT_BYTES / 2),
    at_once: WRITERS as usize,
    patience: None,
};
/// The most rows, and bytes, more or less, of one statement.
const STATEMENT_ROWS: usize = 5_000;
const STATEMENT_BYTES: usize = 32 << 20;
/// From so many events on they are sent with COPY, unless one of them turns out to be stored already.
const COPY_ROWS: usize = 40;
/// Traces that are remembered as stored: what is being recorded at one time, and then some.
const KNOWN_TRACES: usize = 50_000;
/// A writer keeps its connection, and what it knows, for so long while no write comes.
const LULL: Duration = Duration::from_millis(5);
/// How often a group is begun anew because of what others did meanwhile.
const ATTEMPTS: u32 = 10;

struct Job {
    headers: Vec<HeaderRow>,
    events: Vec<EventRow>,
    size: Size,
}

impl Entry for Job {
    type Answer = Result<(), StorageError>;

    fn size(&self) -> Size {
        self.size
    }

    /// A header replaces the earlier one, so they must not overtake one another; events are the same in any order.
    fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.headers.iter().map(|row| row.header.trace_id)
    }
}

/// The way to the writers, which end when it is dropped.
pub(super) struct Writer {
    queue: WriteQueue<Job>,
    tasks: Vec<TaskHealth>,
    refusals: Refusals,
}

impl Writer {
    pub(super) fn start(server: &Arc<Server>, partitions: Option<&Arc<Partitions>>) -> Self {
        let writers = WRITERS.min(server.pool.options().get_max_connections());
        let (queue, batches) = WriteQueue::new(Limits { at_once: writers as usize, ..LIMITS });
        let known = Arc::new(Mutex::new(LruCache::new(KNOWN_TRACES)));
        let mut tasks = Vec::new();
        for _ in 0..writers {
            let task = Task { server: server.clone(), partitions: partitions.cloned(), known: known.clone() };
            let batches = batches.clone();
            let work = move || task.clone().work(batches.clone());
            tasks.push(Supervised::start("writing to PostgreSQL", work).detached());
        }
        Self { queue, tasks, refusals: Refusals::default() }
    }

    /// Stores rows; `Ok` once they are committed.
    pub(super) async fn write(&self, headers: Vec<HeaderRow>, events: Vec<EventRow>) -> Result<(), StorageError> {
        let bytes = events.iter().map(EventRow::bytes).sum::<usize>() + headers.len() * HeaderRow::BYTES;
        let size = Size::new(headers.len() + events.len(), bytes);
        let written = self.queue.write(Job { headers, events, size }).await;
        self.refusals.note(written.and_then(|outcome| outcome))
    }

    /// How many groups are stored at the same time.
    pub(super) fn at_once(&self) -> usize {
        self.tasks.len()
    }

    /// Fails when a writer is dead, or the server was full for the last write.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.tasks.iter().find_map(TaskHealth::problem) {
            Some(problem) => Err(StorageError::Unavailable(problem)),
            None => self.refusals.check(),
        }
    }

    /// What an operator should know.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.tasks.iter().filter_map(TaskHealth::warning)
    }
}

/// Why a group was not stored.
enum Failure {
    /// An event is there already, which only the slower way takes.
    Duplicate,
    /// Traces were deleted meanwhile, or a partition was dropped.
    Overtaken,
    NoPartition(Missing),
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        /// What the server says when there is no partition for a row.
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
    server: Arc<Server>,
    partitions: Option<Arc<Partitions>>,
    /// Traces that have a place, unless someone deleted them since.
    known: Arc<Mutex<LruCache<TraceId, ()>>>,
}

impl Task {
    async fn work(self, batches: Batches<Job>) {
        let mut kept = None;
        while let Some(batch) = next(&batches, &mut kept).await {
            // A panic costs its own group, which is answered as it is dropped.
            contain(LIMITS.name, self.commit(&mut kept, batch)).await;
        }
        release(&mut kept).await;
    }

    async fn commit(&self, kept: &mut Option<Kept>, batch: Batch<Job>) {
        let Batch { entries: jobs, answers, .. } = batch;
        let mut split = Split::new(jobs.len());
        while let Some(part) = split.next() {
            split.outcome(self.store(kept, &jobs[part]).await);
        }
        answers.send(split.outcomes().cloned());
        if kept.as_ref().is_some_and(|kept| kept.is_due(&self.server)) {
            release(kept).await;
        }
    }

    /// Stores a group, however often others get in the way of it.
    async fn store(&self, kept: &mut Option<Kept>, group: &[Job]) -> Result<(), StorageError> {
        let group = Group::new(group);
        let (mut anew, mut reconnected, mut copy) = (false, false, group.suits_copy());
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let acquired = match kept.take() {
                Some(acquired) => acquired,
                None => Kept::acquire(&self.server).await?,
            };
            match self.try_store(kept.insert(acquired), &group, anew, copy).await {
                Ok(()) => {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    for trace_id in group.places.keys() {
                        known.insert(*trace_id, ());
                    }
                    return Ok(());
                }
                Err(Failure::Overtaken) => {
                    anew = true;
                    if let Some(partitions) = &self.partitions {
                        partitions.forget();
                    }
                }
                Err(Failure::Duplicate) if copy => copy = false,
                Err(Failure::Duplicate) => {
                    return Err(StorageError::Other {
                        message: "the tables have a unique index that is not this program's".into(),
                        retryable: false,
                    });
                }
                // Of some of the events; the others can be stored.
                Err(Failure::NoPartition(missing)) => return Err(StorageError::InvalidArgument(missing.message())),
                Err(Failure::Sql(error)) => {
                    let conflict = matches!(code(&error).as_deref(), Some("40001" | "40P01"));
                    let lost = self.server.is_lost(&error);
                    if lost {
                        // Gone back to the pool, it is found dead and closed.
                        *kept = None;
                    }
                    if !conflict && (!lost || reconnected) {
                        return Err(self.server.describe(error));
                    }
                    reconnected |= lost;
                    last = Some(error);
                }
            }
        }
        Err(last.map_or_else(
            || StorageError::Unavailable("others kept deleting the traces whose events were to be stored".into()),
            |error| self.server.describe(error),
        ))
    }

    /// With `anew`, nothing is taken for granted. With `copy`, no event may be stored already.
    async fn try_store(&self, kept: &mut Kept, group: &Group<'_>, anew: bool, copy: bool) -> Result<(), Failure> {
        let unknown = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let places = group.places.iter().map(|(trace_id, at)| (*trace_id, *at));
            places.filter(|(trace_id, _)| anew || known.get(trace_id).is_none()).collect::<Vec<_>>()
        };
        if copy
            && unknown.is_empty()
            && let [events] = &group.events[..]
            && group.headers.is_empty()
        {
            let (connection, places) = kept.locked_places(group.with_events.iter().copied()).await?;
            if self.partitions.is_some() {
                let mut transaction = connection.begin_with(concat!("BEGIN;", use_catalog!())).await?;
                send(&mut transaction, events, places).await?;
                transaction.commit().await?;
            } else {
                send(connection, events, places).await?;
            }
            return Ok(self.server.committed(connection).await?);
        }
        // Creating a partition waits for the lock of partitions, and whoever holds it may be waiting to delete.
        kept.unlock().await?;
        let connection = &mut *kept.connection;
        if let Some(partitions) = &self.partitions {
            ensure_partitions(connection, partitions, &unknown, anew).await?;
        }
        let new = unknown.iter().filter(|(trace_id, _)| group.with_events.contains(trace_id)).collect::<Vec<_>>();
        let statements = group.events.len() + usize::from(!group.headers.is_empty());
        if copy || statements > 1 {
            let mut transaction = deletion::begin_writing(connection, self.partitions.is_some()).await?;
            run(&mut transaction, group, &new, copy).await?;
            transaction.commit().await?;
        } else {
            run(connection, group, &new, copy).await?;
        }
        Ok(self.server.committed(connection).await?)
    }
}

/// The next batch, or `None` when there will be none. What is kept is kept for as long as writes follow one another.
async fn next(batches: &Batches<Job>, kept: &mut Option<Kept>) -> Option<Batch<Job>> {
    if kept.is_some() {
        if let Ok(next) = tokio::time::timeout(LULL, batches.next()).await {
            return next;
        }
        release(kept).await;
    }
    batches.next().await
}

async fn release(kept: &mut Option<Kept>) {
    if let Some(kept) = kept.take() {
        kept.release().await;
    }
}

/// Rows to be stored together.
struct Group<'a> {
    /// For each trace, where it begins as far as the group tells.
    places: BTreeMap<TraceId, i64>,
    /// The last of each trace.
    headers: Vec<&'a HeaderRow>,
    /// A statement each. Of an event that comes twice the first, which the server would not tell from the others.
    events: Vec<Vec<&'a EventRow>>,
    /// The traces that events belong to.
    with_events: HashSet<TraceId>,
}

impl<'a> Group<'a> {
    fn new(jobs: &'a [Job]) -> Self {
        let mut group =
            Self { places: BTreeMap::new(), headers: Vec::new(), events: Vec::new(), with_events: HashSet::new() };
        let mut bytes = 0;
        let mut taken = HashSet::with_capacity(jobs.iter().map(|job| job.events.len()).sum());
        for event in jobs.iter().flat_map(|job| &job.events) {
            let (at, _) = event.key();
            if !taken.insert((event.trace_id, event.key())) {
                continue;
            }
            group.with_events.insert(event.trace_id);
            group.places.entry(event.trace_id).and_modify(|first| *first = at.min(*first)).or_insert(at);
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
            jobs.iter().flat_map(|job| &job.headers).map(|row| (row.header.trace_id, row)).collect();
        group.places.extend(headers.iter().map(|(trace_id, row)| (*trace_id, row.start())));
        group.headers = headers.into_values().collect();
        group
    }

    /// Whether COPY, which takes more round trips, pays.
    fn suits_copy(&self) -> bool {
        self.events.iter().map(Vec::len).sum::<usize>() >= COPY_ROWS
    }
}

async fn ensure_partitions(
    connection: &mut PgConnection,
    partitions: &Partitions,
    unknown: &[(TraceId, i64)],
    anew: bool,
) -> Result<(), Failure> {
    if !anew && unknown.iter().all(|(_, at)| partitions.covers(*at)) {
        return Ok(());
    }
    // A trace that has its place keeps it, whatever this group says of its time.
    let ids: Vec<Uuid> = unknown.iter().map(|(trace_id, _)| trace_id.0).collect();
    let rows = sqlx::query("SELECT trace_id, placed_at FROM trace WHERE trace_id = ANY($1)")
        .bind(ids)
        .fetch_all(&mut *connection)
        .await?;
    let mut places: BTreeMap<TraceId, i64> = unknown.iter().copied().collect();
    for row in rows {
        places.insert(TraceId(row.try_get(0)?), row.try_get(1)?);
    }
    let times: Vec<i64> = places.into_values().collect();
    partitions.ensure(connection, &times).await?.map_err(Failure::NoPartition)
}

/// Events before headers: whoever sees a new trace sees its events.
async fn run(
    connection: &mut PgConnection,
    group: &Group<'_>,
    new: &[&(TraceId, i64)],
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
        header::bind(query, &group.headers).execute(connection).await?;
    }
    Ok(())
}

async fn copy_events(connection: &mut PgConnection, group: &Group<'_>, new: &[&(TraceId, i64)]) -> Result<(), Failure> {
    let ids: Vec<Uuid> = group.with_events.iter().map(|trace_id| trace_id.0).collect();
    let mut places = HashMap::with_capacity(ids.len());
    let query = if new.is_empty() {
        // A statement that may insert opens every index of the table first.
        sqlx::query(include_str!("sql/get_places.sql")).bind(ids)
    } else {
        bind_new(sqlx::query(include_str!("sql/add_places.sql")).bind(ids), new)
    };
    for row in query.fetch_all(&mut *connection).await? {
        places.insert(TraceId(row.try_get(2)?), Place::read(&row)?);
    }
    for events in &group.events {
        send(connection, events, &places).await?;
    }
    Ok(())
}

async fn send(
    connection: &mut PgConnection,
    events: &[&EventRow],
    places: &HashMap<TraceId, Place>,
) -> Result<(), Failure> {
    let placed = events.iter().map(|row| places.get(&row.trace_id).map(|place| (*place, *row)));
    let mut rows: Vec<_> = placed.collect::<Option<_>>().ok_or(Failure::Overtaken)?;
    // As all writers do, so that none waits for another in a circle.
    rows.sort_by_key(|(place, row)| (place.sequence, row.key()));
    Ok(copy::Rows::new(&rows).send(connection).await?)
}

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// The traces that are to get a place, and where.
fn bind_new<'q>(query: Query<'q>, new: &[&(TraceId, i64)]) -> Query<'q> {
    let (ids, places): (Vec<Uuid>, Vec<i64>) = new.iter().map(|(trace_id, at)| (trace_id.0, *at)).unzip();
    query.bind(ids).bind(places)
}
