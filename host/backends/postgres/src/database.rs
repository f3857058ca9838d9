//! The primary server, and the replica that reads may use.

use std::sync::Arc;

use reflow_tracing_storage::StorageError;
use sqlx::{Error, PgConnection};

use super::config::PostgresConfig;
use super::connection::{Server, Session};
use super::layout::Layout;
use super::replica::Replica;

/// A database: the primary, which takes writes, and a replica to read from, if there is one.
pub(super) struct Database {
    pub primary: Server,
    pub replica: Option<Arc<Replica>>,
    /// The version of the tables.
    pub layout: Layout,
}

impl Database {
    /// The database that `config` names, whose tables are in `primary`.
    pub(super) async fn open(config: &PostgresConfig, primary: Server, layout: Layout) -> Result<Self, StorageError> {
        let replica = match &config.read_replica_url {
            Some(url) => Some(Replica::open(config, url, &primary).await?),
            None => None,
        };
        Ok(Self { primary, replica, layout })
    }

    /// The server and the session to read from: the replica if `on_replica` is set and the replica has all acknowledged
    /// writes. Sets `on_replica` to whether it is the replica.
    pub(super) async fn reader(&self, on_replica: &mut bool) -> Result<(&Server, Session), StorageError> {
        if *on_replica
            && let Some(replica) = &self.replica
            && let Some(session) = replica.session().await
        {
            return Ok((&replica.server, session));
        }
        *on_replica = false;
        Ok((&self.primary, self.primary.session().await?))
    }

    /// Records why the replica failed.
    pub(super) fn replica_failed(&self, error: &Error) {
        if let Some(replica) = &self.replica {
            replica.failed(error);
        }
    }

    /// Call this on the connection of a commit before acknowledging it. After that, no read misses it.
    pub(super) async fn committed(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if let Some(replica) = &self.replica {
            let written = sqlx::query_scalar(include_str!("sql/log_position.sql")).fetch_one(connection).await?;
            replica.has_to_reach(written);
        }
        Ok(())
    }

    /// Waits for calls in progress, but not for streams that nobody reads.
    pub(super) async fn close(&self) {
        self.primary.close().await;
        if let Some(replica) = &self.replica {
            replica.server.close().await;
        }
    }
}

/// Runs statements on a connection of the pool, and retries once on another one if it was broken.
macro_rules! retried {
    ($database:expr, |$connection:ident| $work:expr) => {
        $crate::database::attempts!($database, false, |$connection| $work)
    };
}

/// Like `retried`, for read-only statements: on the replica if it has all acknowledged writes. If it fails, on the primary.
macro_rules! read {
    ($database:expr, |$connection:ident| $work:expr) => {
        $crate::database::attempts!($database, true, |$connection| $work)
    };
}

macro_rules! attempts {
    ($database:expr, $on_replica:expr, |$connection:ident| $work:expr) => {{
        let database = &*$database;
        let (mut on_replica, mut again) = ($on_replica, true);
        loop {
            let (reader, mut session) = database.reader(&mut on_replica).await?;
            let $connection = &mut *session.connection;
            let outcome: sqlx::Result<_> = async { $work }.await;
            match outcome {
                Ok(found) => {
                    reader.rest(session);
                    break Ok(found);
                }
                Err(error) if std::mem::take(&mut on_replica) => database.replica_failed(&error),
                Err(error) if database.primary.is_lost(&error) && again => again = false,
                Err(error) => break Err(database.primary.describe(error)),
            }
        }
    }};
}

pub(super) use {attempts, read, retried};
