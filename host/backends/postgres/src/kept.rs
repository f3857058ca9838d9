//! The connection of a writer that has work, and what it knows for as long as nobody deletes.
//!
//! To lock traces and to look up where they are takes more round trips than to store a group of events. So the lock is kept
//! over several groups, and the places that were looked up are right until it is given up: every few milliseconds, for those
//! who wait to delete.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Row};
use uuid::Uuid;

use super::connection::Server;
use super::deletion;
use super::header::Place;

/// How long those who delete wait at most for a writer that has work all the time, beside its last group.
const LOCKED: Duration = Duration::from_millis(20);

/// A connection with what it holds.
pub(super) struct Kept {
    pub connection: PoolConnection<Postgres>,
    since: Instant,
    lock: Option<Lock>,
}

struct Lock {
    since: Instant,
    /// Of traces that are there.
    places: HashMap<TraceId, Place>,
}

impl Kept {
    pub(super) async fn acquire(server: &Server) -> Result<Self, StorageError> {
        Ok(Self { connection: server.acquire().await?, since: Instant::now(), lock: None })
    }

    /// Whether others need the connection more.
    pub(super) fn is_due(&self, server: &Server) -> bool {
        self.since.elapsed() >= server.longest_use() || server.is_short()
    }

    /// The connection and the places of these traces, of those that are there. Nobody deletes any of them until
    /// [`unlock`](Self::unlock).
    pub(super) async fn locked_places(
        &mut self,
        trace_ids: impl Iterator<Item = TraceId>,
    ) -> sqlx::Result<(&mut PgConnection, &HashMap<TraceId, Place>)> {
        let lock = match self.lock.take() {
            Some(lock) if lock.since.elapsed() < LOCKED => lock,
            earlier => {
                let statement = if earlier.is_some() { deletion::TAKE_TURNS } else { deletion::LOCK_OUT };
                self.run(statement).await?;
                Lock { since: Instant::now(), places: HashMap::new() }
            }
        };
        let unknown: Vec<Uuid> = trace_ids.filter(|id| !lock.places.contains_key(id)).map(|id| id.0).collect();
        let found = if unknown.is_empty() {
            Ok(Vec::new())
        } else {
            sqlx::query(include_str!("sql/get_places.sql")).bind(unknown).fetch_all(&mut *self.connection).await
        };
        let places = &mut self.lock.insert(lock).places;
        for row in found? {
            places.insert(TraceId(row.try_get(2)?), Place::read(&row)?);
        }
        Ok((&mut self.connection, places))
    }

    /// Lets others delete.
    pub(super) async fn unlock(&mut self) -> sqlx::Result<()> {
        match self.lock.take() {
            Some(_) => self.run(deletion::LET_IN).await,
            None => Ok(()),
        }
    }

    /// Gives the connection back.
    pub(super) async fn release(mut self) {
        // If that fails the connection is closed, and the lock ends with it.
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

impl Drop for Kept {
    fn drop(&mut self) {
        if self.lock.is_some() {
            self.connection.close_on_drop();
        }
    }
}
