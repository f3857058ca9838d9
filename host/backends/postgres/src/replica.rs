//! A server that follows the primary, and how reads go there without missing what was acknowledged.
//!
//! Before a write is acknowledged it is noted where in the primary's log it ends. A read goes to the replica once that has
//! come as far. Each connection remembers how far its server had come when it was last asked, so while nothing is written
//! nobody asks; it is for the connection to remember, since behind one address there may be several replicas.
//!
//! A replica that is a moment behind is waited for. One that is further behind, or gone, is left alone, and the primary is
//! read; a task looks when it is back, so that no read waits for it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reflow_tracing_storage::StorageError;
use sqlx::{Connection, Error, PgConnection};
use tokio::time::{sleep, timeout};

use super::PostgresConfig;
use super::connection::{Server, Session};
use reflow_tracing_storage::task::Supervised;

/// How long a read waits between looks whether the replica has come far enough.
const LOOKS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
];

/// One that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether the replica is back.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Being behind is told once it has lasted: under many writes it comes and goes.
const LONG_BEHIND: Duration = Duration::from_secs(10);

/// Another server that is read.
pub(super) struct Replica {
    pub server: Server,
    /// Which primary's it is: every server of a cluster has this number.
    system: i64,
    /// Where the primary's log was after the last write that was acknowledged.
    written: AtomicI64,
    away: Mutex<Option<Away>>,
}

/// A replica that is not read.
struct Away {
    since: Instant,
    why: Unfit,
    /// Whether the log says so.
    told: bool,
}

/// Why a look at the replica found nothing to read from.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it is behind the primary")]
    Behind,
    #[error("{0}")]
    Gone(String),
}

impl Replica {
    /// The replica at `url`, of the primary `of`, which holds the tables. It may be away; then the primary is read until it comes
    /// back.
    ///
    /// Fails with [`StorageError::Configuration`] when the server refuses the user or is not a replica of that primary.
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
            Ok(()) => {}
            Err(StorageError::Unavailable(reason)) => replica.leave(Unfit::Gone(reason)),
            Err(error) => return Err(error),
        }
        Ok(replica)
    }

    /// From now on, no read is answered by a replica that has not come as far in the primary's log.
    pub(super) fn has_to_reach(&self, position: i64) {
        self.written.fetch_max(position, Ordering::SeqCst);
    }

    /// A session that sees all that was acknowledged, if there is one soon.
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

    /// What an operator should know of it.
    pub(super) fn warning(&self) -> Option<String> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let Away { since, why, .. } = away.as_ref()?;
        let seconds = since.elapsed().as_secs();
        Some(format!("for {seconds} s reads have gone to the primary instead of the replica: {why}"))
    }

    /// Takes note of what a statement came to on a session of its.
    pub(super) fn failed(self: &Arc<Self>, error: &Error) {
        if self.server.is_lost(error) {
            self.leave(Unfit::Gone(format!("{}: {error}", self.server.target)));
        } else {
            // As when what is read is removed on the primary meanwhile.
            tracing::debug!("a read goes from the replica to the primary: {error}");
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
                // The others of its connections are in doubt then.
                self.server.is_lost(&error);
                Err(Unfit::Gone(self.server.describe(error).to_string()))
            }
            Err(_) => Err(Unfit::Gone(self.silent())),
        }
    }

    /// Whether there is a replica of the right primary.
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
            // As after a failover.
            None => Err(StorageError::Unavailable(self.no_replica())),
        }
    }

    fn silent(&self) -> String {
        format!("{} does not answer", self.server.target)
    }

    fn no_replica(&self) -> String {
        format!("{} is no replica now", self.server.target)
    }

    fn is_away(&self) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Leaves the replica alone until it is back.
    fn leave(self: &Arc<Self>, why: Unfit) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.is_some() {
            return;
        }
        let mut now = Away { since: Instant::now(), why, told: false };
        now.tell();
        *away = Some(now);
        drop(away);
        let replica = Arc::downgrade(self);
        // Returns by itself.
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
                if away.take().is_some_and(|away| away.told) {
                    tracing::info!("the replica is back: reads go there again");
                }
            }
            (Err(why), Some(away)) => {
                away.why = why;
                away.tell();
            }
            (Err(_), None) => {}
        }
        away.is_none()
    }
}

impl Away {
    /// Tells the log, once.
    fn tell(&mut self) {
        let worth_it = matches!(self.why, Unfit::Gone(_)) || self.since.elapsed() > LONG_BEHIND;
        if worth_it && !self.told {
            self.told = true;
            tracing::warn!("reads go to the primary until the replica is back: {}", self.why);
        }
    }
}

/// The number of a cluster: its primary and all replicas have it.
async fn system(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT system_identifier FROM pg_control_system()").fetch_one(connection).await
}

/// How far a replica has come; `None` when the server is not a replica.
async fn replayed(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(include_str!("sql/replayed.sql")).fetch_one(connection).await
}
