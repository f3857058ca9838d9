//! A streaming replica for reads, which never misses an acknowledged write.
//!
//! Before a write is acknowledged, its end position in the primary's log is recorded. A read uses the replica only after the
//! replica has replayed that position. Each connection caches the last known position of its server, so reads need no query
//! while nothing is written. The cache is per connection, because several replicas may share one address.
//!
//! A read waits for a replica that is a moment behind. If the replica is further behind or gone, reads use the primary, and a
//! background task checks when the replica is usable again.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reflow_tracing_storage::StorageError;
use sqlx::{Connection, Error, PgConnection};
use tokio::time::{sleep, timeout};

use super::config::PostgresConfig;
use super::connection::{Server, Session};
use reflow_tracing_storage::task::Supervised;

/// Pauses between checks whether the replica has caught up.
const LOOKS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
];

/// A replica that does not answer within this time is unavailable.
const SILENCE: Duration = Duration::from_secs(1);

/// How often to check whether the replica is usable again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long the replica must be behind before a warning is logged, because under load this comes and goes.
const LONG_BEHIND: Duration = Duration::from_secs(10);

/// The replica.
pub(super) struct Replica {
    pub server: Server,
    /// The system identifier of the cluster, which the primary and its replicas share.
    system: i64,
    /// The position in the primary's log after the last acknowledged write.
    written: AtomicI64,
    away: Mutex<Option<Away>>,
}

/// The state of a replica that reads don't use.
struct Away {
    since: Instant,
    why: Unfit,
    /// Whether a warning was logged.
    logged: bool,
}

/// Why the replica can't be used.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it is behind the primary")]
    Behind,
    #[error("{0}")]
    Gone(String),
}

impl Replica {
    /// The replica at `url` of the primary `of`, which has the tables. If it is unavailable, reads use the primary until it is
    /// available.
    ///
    /// Fails with [`StorageError::Configuration`] if the server rejects the user or is not a replica of that primary.
    pub(super) async fn open(config: &PostgresConfig, url: &str, of: &Server) -> Result<Arc<Self>, StorageError> {
        let silence = SILENCE.min(config.connection_timeout());
        let server = Server::new(config, "read_replica_url", url, silence)?;
        let mut primary = of.connect().await?;
        let described = |error| of.describe(error);
        let system = system(&mut primary).await.map_err(described)?;
        let sql = include_str!("sql/log_position.sql");
        let written = sqlx::query_scalar(sql).fetch_one(&mut primary).await.map_err(described)?;
        let _ = primary.close().await;
        let replica = Arc::new(Self { server, system, written: AtomicI64::new(written), away: Mutex::default() });
        match replica.look().await {
            // Otherwise it was there a moment ago; the next read finds out.
            Ok(()) => {
                if let Err(error @ StorageError::Configuration(_)) = replica.server.check_sessions().await {
                    return Err(error);
                }
            }
            Err(StorageError::Unavailable(reason)) => replica.leave(Unfit::Gone(reason)),
            Err(error) => return Err(error),
        }
        Ok(replica)
    }

    /// From now on, reads don't use the replica until it has replayed this position.
    pub(super) fn has_to_reach(&self, position: i64) {
        self.written.fetch_max(position, Ordering::SeqCst);
    }

    /// A session that sees all acknowledged writes, if one is available soon.
    pub(super) async fn session(self: &Arc<Self>) -> Option<Session> {
        if self.is_away() {
            return None;
        }
        match self.find_session().await {
            Ok(session) => Some(session),
            Err(why) => {
                self.leave(why);
                None
            }
        }
    }

    /// A warning if reads use the primary.
    pub(super) fn warning(&self) -> Option<String> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let Away { since, why, .. } = away.as_ref()?;
        let seconds = since.elapsed().as_secs();
        Some(format!("reads have used the primary instead of the replica for {seconds} s: {why}"))
    }

    /// Records the error of a statement on the replica.
    pub(super) fn failed(self: &Arc<Self>, error: &Error) {
        if self.server.is_lost(error) {
            self.leave(Unfit::Gone(format!("{}: {error}", self.server.target)));
        } else {
            // For example, the primary removed rows that the read needed.
            tracing::debug!("a read moves from the replica to the primary: {error}");
        }
    }

    async fn find_session(&self) -> Result<Session, Unfit> {
        let written = self.written.load(Ordering::SeqCst);
        let found = timeout(SILENCE, async {
            let mut session = self.server.try_session().await?;
            for pause in LOOKS {
                if session.replayed >= written {
                    return Ok(Ok(session));
                }
                if !pause.is_zero() {
                    sleep(pause).await;
                }
                match replayed(&mut session.connection).await? {
                    Some(replayed) => session.replayed = replayed,
                    None => return Ok(Err(Unfit::Gone(self.no_replica()))),
                }
            }
            if session.replayed >= written {
                return Ok(Ok(session));
            }
            self.server.rest(session);
            Ok(Err(Unfit::Behind))
        });
        match found.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                // Test its other connections before they are used again.
                self.server.is_lost(&error);
                Err(Unfit::Gone(self.server.describe(error).to_string()))
            }
            Err(_) => Err(Unfit::Gone(self.silent())),
        }
    }

    /// Checks that the server is a replica of the right primary.
    async fn look(&self) -> Result<(), StorageError> {
        let mut connection = self.server.connect().await?;
        let found = async {
            let system = system(&mut connection).await?;
            sqlx::Result::Ok((system, replayed(&mut connection).await?))
        };
        let (system, replayed) = match timeout(SILENCE, found).await {
            Ok(found) => found.map_err(|error| self.server.describe(error))?,
            Err(_) => return Err(StorageError::Unavailable(self.silent())),
        };
        let _ = connection.close().await;
        if system != self.system {
            return Err(StorageError::Configuration(format!(
                "{} in `read_replica_url` is not a replica of the database in `connection_url`: it belongs to another cluster",
                self.server.target
            )));
        }
        match replayed {
            Some(_) => Ok(()),
            // For example after a failover.
            None => Err(StorageError::Unavailable(self.no_replica())),
        }
    }

    fn silent(&self) -> String {
        format!("{} does not answer", self.server.target)
    }

    fn no_replica(&self) -> String {
        format!("{} is not a replica any more", self.server.target)
    }

    fn is_away(&self) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Stops using the replica until it is usable again.
    fn leave(self: &Arc<Self>, why: Unfit) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.is_some() {
            return;
        }
        let mut now = Away { since: Instant::now(), why, logged: false };
        now.log_once();
        *away = Some(now);
        drop(away);
        let replica = Arc::downgrade(self);
        // Returns when the replica is back or dropped.
        Supervised::start("looking for the replica", move || {
            let replica = replica.clone();
            async move {
                loop {
                    sleep(LOOK_AGAIN).await;
                    match replica.upgrade() {
                        Some(replica) if !replica.server.pool.is_closed() => {
                            if replica.is_back().await {
                                return;
                            }
                        }
                        _ => return,
                    }
                }
            }
        })
        .detached();
    }

    async fn is_back(&self) -> bool {
        let gone = match &*self.away.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(away) => matches!(away.why, Unfit::Gone(_)),
            None => return true,
        };
        let found = match if gone { self.look().await } else { Ok(()) } {
            Ok(()) => self.find_session().await,
            Err(error) => Err(Unfit::Gone(error.to_string())),
        };
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match (found, away.as_mut()) {
            (Ok(session), _) => {
                self.server.rest(session);
                if away.take().is_some_and(|away| away.logged) {
                    tracing::info!("the replica is back; reads use it again");
                }
            }
            (Err(why), Some(away)) => {
                away.why = why;
                away.log_once();
            }
            (Err(_), None) => {}
        }
        away.is_none()
    }
}

impl Away {
    /// Logs a warning, once.
    fn log_once(&mut self) {
        let worth_it = matches!(self.why, Unfit::Gone(_)) || self.since.elapsed() > LONG_BEHIND;
        if worth_it && !self.logged {
            self.logged = true;
            tracing::warn!("reads use the primary until the replica is back: {}", self.why);
        }
    }
}

/// The system identifier of the cluster.
async fn system(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT system_identifier FROM pg_control_system()").fetch_one(connection).await
}

/// The replayed position; `None` if the server is not a replica.
async fn replayed(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(include_str!("sql/replayed.sql")).fetch_one(connection).await
}
