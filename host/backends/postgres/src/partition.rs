//! The partitions of the table `event`: creates missing ones and drops expired ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use reflow_tracing_model::time;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::config::PartitionInterval;
use super::deletion;
use super::placement::Moved;

const HOUR: i128 = 3_600_000_000_000;
const DAY: i128 = 24 * HOUR;

/// The number of partitions from which on none is created for a time far from now. What strangers send has such times too.
const MANY: usize = 500;
/// A time this close to now gets its partition anyway.
const NEAR: i128 = 2 * DAY;

/// The comment on a partition that is about to be dropped, so that the next run finishes an interrupted drop.
const EXPIRED: &str = "expired";

/// Nanoseconds since 1970, excluding the end. Wider than a time can be, for the first and the last partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub from: i128,
    pub to: i128,
}

impl Span {
    /// The span of this interval that contains `at`.
    fn around(interval: PartitionInterval, at: i64) -> Self {
        let every = |length: i128, first: i128| {
            let from = (i128::from(at) - first).div_euclid(length) * length + first;
            Self { from, to: from + length }
        };
        match interval {
            PartitionInterval::Hourly => every(HOUR, 0),
            PartitionInterval::Daily => every(DAY, 0),
            // 1970-01-01 was a Thursday, three days after a Monday.
            PartitionInterval::Weekly => every(7 * DAY, -3 * DAY),
            PartitionInterval::Monthly => {
                let first = DateTime::from_timestamp_nanos(at).date_naive().with_day(1).expect("every month has one");
                let next = first + Months::new(1);
                let nanoseconds = |day: NaiveDate| i128::from((day - NaiveDate::default()).num_days()) * DAY;
                Self { from: nanoseconds(first), to: nanoseconds(next) }
            }
        }
    }

    fn contains(self, at: i64) -> bool {
        (self.from..self.to).contains(&i128::from(at))
    }

    /// The part of the span around `at` that no existing span covers.
    fn without(self, others: &[Span], at: i64) -> Self {
        let at = i128::from(at);
        let from = others.iter().map(|other| other.to).filter(|to| *to <= at).fold(self.from, i128::max);
        let to = others.iter().map(|other| other.from).filter(|from| *from > at).fold(self.to, i128::min);
        Self { from, to }
    }

    fn table(self) -> String {
        match i64::try_from(self.from) {
            Ok(from) => DateTime::from_timestamp_nanos(from).format("event_%Y%m%d_%H").to_string(),
            Err(_) => "event_first".into(),
        }
    }

    /// `FROM (..) TO (..)`
    fn bounds(self) -> String {
        let bound = |at: i128, beyond| i64::try_from(at).map_or(String::from(beyond), |at| at.to_string());
        format!("FROM ({}) TO ({})", bound(self.from, "MINVALUE"), bound(self.to, "MAXVALUE"))
    }

    /// Parses PostgreSQL's bounds of a partition: `FOR VALUES FROM ('1') TO (MAXVALUE)`.
    fn parse(bounds: &str) -> Option<Self> {
        let (from, to) = bounds.strip_prefix("FOR VALUES FROM (")?.strip_suffix(')')?.split_once(") TO (")?;
        let bound = |text: &str, beyond: &str, instead: i128| match text.trim_matches('\'') {
            text if text == beyond => Some(instead),
            text => text.parse::<i64>().ok().map(i128::from),
        };
        Some(Self {
            from: bound(from, "MINVALUE", i128::from(i64::MIN) - 1)?,
            to: bound(to, "MAXVALUE", i128::from(i64::MAX) + 1)?,
        })
    }

    /// The statements that create its partition. Attaching a table doesn't block writers; creating it as a partition would.
    pub(super) fn creation(self) -> String {
        self.creation_as(&self.table())
    }

    fn creation_as(self, table: &str) -> String {
        format!(
            "CREATE TABLE {table} (LIKE event INCLUDING ALL);\nALTER TABLE event ATTACH PARTITION {table} FOR VALUES {};\n",
            self.bounds()
        )
    }
}

/// The current span and the next one.
pub(super) fn ahead(interval: PartitionInterval) -> [Span; 2] {
    let now = Span::around(interval, time::nanos(Utc::now()));
    let next = i64::try_from(now.to).map_or(now, |next| Span::around(interval, next));
    [now, next]
}

/// A missing partition that this program must not create.
#[derive(Debug)]
pub(super) struct Missing(pub Span);

impl Missing {
    pub(super) fn message(&self) -> String {
        let mut message = String::from(
            "there is no partition for the time of an event, and `auto_create_partitions` is off; set it, or run, with \
             the schema as the search_path:\n",
        );
        // Writing to a string can't fail.
        let _ = write!(message, "{}", self.0.creation());
        message
    }
}

/// The dropped partitions and traces.
pub(super) struct Dropped {
    pub partitions: u64,
    pub traces: u64,
}

/// The known partitions. Only the server knows whether they still exist.
pub(super) struct Partitions {
    interval: PartitionInterval,
    auto_create: bool,
    /// Ends by starts.
    known: Mutex<BTreeMap<i128, i128>>,
}

impl Partitions {
    pub(super) fn new(interval: PartitionInterval, auto_create: bool) -> Self {
        Self { interval, auto_create, known: Mutex::default() }
    }

    /// Whether a partition for this time is known.
    pub(super) fn covers(&self, at: i64) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = known.range(..=i128::from(at)).next_back();
        nearest.is_some_and(|(from, to)| Span { from: *from, to: *to }.contains(at))
    }

    /// Forgets the known partitions. The next write reads them from the server.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn learn(&self, found: &[Span]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = found.iter().map(|span| (span.from, span.to)).collect();
    }

    fn count(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ensures that partitions for these times exist. Returns the times that have to be placed elsewhere, because there are
    /// many partitions already.
    pub(super) async fn ensure(
        &self,
        connection: &mut PgConnection,
        times: &[i64],
    ) -> sqlx::Result<Result<Moved, Missing>> {
        let mut moved = Moved::default();
        if times.iter().all(|at| self.covers(*at)) {
            return Ok(Ok(moved));
        }
        self.learn(&attached(connection).await?);
        for at in times {
            if self.covers(*at) {
                continue;
            }
            if !self.auto_create {
                return Ok(Err(Missing(Span::around(self.interval, *at))));
            }
            let now = time::nanos(Utc::now());
            let is_far = (i128::from(*at) - i128::from(now)).abs() > NEAR;
            let place = if is_far && self.count() >= MANY { now } else { *at };
            if place != *at {
                moved.insert(*at, place);
            }
            if !self.covers(place) {
                self.create(connection, place).await?;
            }
        }
        Ok(Ok(moved))
    }

    /// Creates the current partition and the next one.
    pub(super) async fn create_ahead(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if self.auto_create {
            let times = ahead(self.interval).map(|span| i64::try_from(span.from).unwrap_or(i64::MIN));
            let _ = self.ensure(connection, &times).await?;
        }
        Ok(())
    }

    /// Creates the partition for a time, unless another host has created it.
    async fn create(&self, connection: &mut PgConnection, at: i64) -> sqlx::Result<()> {
        let mut transaction = connection.begin().await?;
        lock(&mut transaction, "pg_advisory_xact_lock").await?;
        let mut existing = attached(&mut transaction).await?;
        if !existing.iter().any(|span| span.contains(at)) {
            // Partitions of another interval stay unchanged.
            let span = Span::around(self.interval, at).without(&existing, at);
            let mut table = span.table();
            let taken: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
                .bind(&table)
                .fetch_one(&mut *transaction)
                .await?;
            if taken {
                // An administrator detached the table to keep it.
                let _ = write!(table, "_{}", time::nanos(Utc::now()));
            }
            sqlx::raw_sql(AssertSqlSafe(span.creation_as(&table))).execute(&mut *transaction).await?;
            existing.push(span);
        }
        transaction.commit().await?;
        self.learn(&existing);
        Ok(())
    }

    /// Drops the partitions that ended at `limit` or before, with their traces.
    ///
    /// Deletes the traces first, so that no reader sees one without its events. Readers and writers are not blocked, because
    /// `DETACH CONCURRENTLY` waits for those that still use the partition.
    pub(super) async fn drop_ended(
        &self,
        connection: &mut PgConnection,
        limit: DateTime<Utc>,
    ) -> sqlx::Result<Dropped> {
        lock(connection, "pg_advisory_lock").await?;
        let dropped = self.drop_before(connection, time::nanos(limit)).await;
        // The lock ends with the connection at the latest.
        let _ = lock(connection, "pg_advisory_unlock").await;
        dropped
    }

    async fn drop_before(&self, connection: &mut PgConnection, limit: i64) -> sqlx::Result<Dropped> {
        let partitions = partitions(connection).await?;
        // The start of the first partition that stays.
        let stays = |span: &Span| span.to > i128::from(limit);
        let begins = partitions.iter().map(|(_, span, _)| *span).filter(stays).map(|span| span.from);
        let until = begins.fold(Span::around(self.interval, limit).from, i128::min);
        let mut dropped = Dropped { partitions: 0, traces: delete_placed_before(connection, until).await? };
        for (table, _, detaching) in partitions.iter().filter(|(_, span, _)| !stays(span)) {
            let detach = if *detaching { "FINALIZE" } else { "CONCURRENTLY" };
            for statement in [
                format!("COMMENT ON TABLE {table} IS '{EXPIRED}'"),
                format!("ALTER TABLE event DETACH PARTITION {table} {detach}"),
            ] {
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
            }
            dropped.partitions += 1;
        }
        // Traces stored while the others were deleted.
        dropped.traces += delete_placed_before(connection, until).await?;
        let detached: Vec<String> =
            sqlx::query_scalar(include_str!("sql/expired.sql")).bind(EXPIRED).fetch_all(&mut *connection).await?;
        for table in detached {
            sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {table}"))).execute(&mut *connection).await?;
        }
        self.forget();
        Ok(dropped)
    }
}

/// Deletes the traces of an expired partition, but not their events, which are dropped with it. Returns the number of traces.
async fn delete_placed_before(connection: &mut PgConnection, until: i128) -> sqlx::Result<u64> {
    let until = i64::try_from(until).unwrap_or(i64::MIN);
    let mut count = 0;
    loop {
        let mut transaction = deletion::begin(connection).await?;
        let delete = sqlx::query(include_str!("sql/delete_placed.sql")).bind(until).bind(deletion::AT_ONCE as i64);
        let deleted = delete.execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        if deleted == 0 {
            return Ok(count);
        }
        count += deleted;
    }
}

/// The ends of the partitions, ascending.
pub(super) async fn ends(connection: &mut PgConnection) -> sqlx::Result<Vec<DateTime<Utc>>> {
    let mut ends: Vec<i128> = attached(connection).await?.iter().map(|span| span.to).collect();
    ends.sort_unstable();
    Ok(ends.into_iter().map(|end| DateTime::from_timestamp_nanos(i64::try_from(end).unwrap_or(i64::MAX))).collect())
}

/// Creation and expiry exclude each other.
async fn lock(connection: &mut PgConnection, function: &str) -> sqlx::Result<()> {
    let sql = format!("SELECT {function}(hashtextextended('reflow-tracing:partitions:' || current_schema(), 0))");
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

async fn attached(connection: &mut PgConnection) -> sqlx::Result<Vec<Span>> {
    Ok(partitions(connection)
        .await?
        .into_iter()
        .filter(|(.., detaching)| !detaching)
        .map(|(_, span, _)| span)
        .collect())
}

/// The quoted table of each partition, its span, and whether its detachment was started.
async fn partitions(connection: &mut PgConnection) -> sqlx::Result<Vec<(String, Span, bool)>> {
    let rows = sqlx::query(include_str!("sql/partitions.sql")).fetch_all(connection).await?;
    let mut partitions = Vec::with_capacity(rows.len());
    for row in rows {
        let bounds: String = row.try_get(1)?;
        let span = Span::parse(&bounds).ok_or_else(|| {
            sqlx::Error::Decode(format!("a partition of `event` has the unexpected bounds {bounds}").into())
        })?;
        partitions.push((row.try_get(0)?, span, row.try_get(2)?));
    }
    Ok(partitions)
}
