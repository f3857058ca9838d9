//! The connection of a writer, with the lock that prevents deletions and the locations that it looked up.
//!
//! Taking the lock and looking up locations takes more round trips than storing a batch of events. So a writer keeps the lock
//! over several batches, during which the locations stay valid. It releases the lock every few milliseconds to let deletions
//! run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Row};
use uuid::Uuid;

use super::database::Database;
use super::deletion;
use super::header::Location;

/// How long a busy writer keeps the lock. A deletion waits at most for this and the current batch.
const LOCKED: Duration = Duration::from_millis(20);

/// A connection that a writer keeps while it has work.
pub(super) struct WriterSession {
    pub connection: PoolConnection<Postgres>,
    since: Instant,
    lock: Option<Lock>,
}

struct Lock {
    since: Instant,
    /// The locations of stored traces.
    locations: HashMap<TraceId, Location>,
}

impl WriterSession {
    pub(super) async fn acquire(database: &Database) -> Result<Self, StorageError> {
        Ok(Self { connection: database.primary.acquire().await?, since: Instant::now(), lock: None })
    }

    /// Whether the connection should go back to the pool.
    pub(super) fn is_due(&self, database: &Database) -> bool {
        self.since.elapsed() >= database.primary.longest_use() || database.primary.is_short()
    }

    /// The connection, and the locations of these traces if they are stored. Prevents deletions until [`unlock`](Self::unlock).
    pub(super) async fn locked_locations(
        &mut self,
        trace_ids: impl Iterator<Item = TraceId>,
    ) -> sqlx::Result<(&mut PgConnection, &HashMap<TraceId, Location>)> {
        let lock = match self.lock.take() {
            Some(lock) if lock.since.elapsed() < LOCKED => lock,
            earlier => {
                let statement = if earlier.is_some() { deletion::TAKE_TURNS } else { deletion::LOCK_OUT };
                self.run(statement).await?;
                Lock { since: Instant::now(), locations: HashMap::new() }
            }
        };
        let unknown: Vec<Uuid> = trace_ids.filter(|id| !lock.locations.contains_key(id)).map(|id| id.0).collect();
        let found = if unknown.is_empty() {
            Ok(Vec::new())
        } else {
            sqlx::query(include_str!("sql/get_locations.sql")).bind(unknown).fetch_all(&mut *self.connection).await
        };
        let locations = &mut self.lock.insert(lock).locations;
        for row in found? {
            locations.insert(TraceId(row.try_get(2)?), Location::read(&row)?);
        }
        Ok((&mut self.connection, locations))
    }

    /// Allows deletions.
    pub(super) async fn unlock(&mut self) -> sqlx::Result<()> {
        match self.lock.take() {
            Some(_) => self.run(deletion::LET_IN).await,
            None => Ok(()),
        }
    }

    /// Returns the connection to the pool.
    pub(super) async fn release(mut self) {
        // If this fails, the connection is closed, which releases the lock.
        let _ = self.unlock().await;
    }

    async fn run(&mut self, statement: &'static str) -> sqlx::Result<()> {
        let outcome = sqlx::raw_sql(statement).execute(&mut *self.connection).await;
        if outcome.is_err() {
            // It may hold the lock.
            self.connection.close_on_drop();
        }
        outcome.map(drop)
    }
}

impl Drop for WriterSession {
    fn drop(&mut self) {
        if self.lock.is_some() {
            self.connection.close_on_drop();
        }
    }
}
