//! The connections of a database.
//!
//! What a call leaves in its session is gone before the next call: the session is reset before it is used again, or after
//! [`LINGER`] if nobody wants it. A session that runs a statement which nobody waits for any more is ended by the server, and
//! counts until it has ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection as _};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use super::super::error::refused;
use super::dialect::{Dialect, Options};
use super::error::describe;
use crate::capabilities::connections::{ConnectionBudget, ConnectionPermit, TooManyConnections};
use crate::contract::bindings::reflow::capabilities::sql::SqlError;

/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are closed after this time.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// How long a session may keep what its last call left, for example a lock, while nobody uses it.
const LINGER: Duration = Duration::from_millis(10);
/// How long to go on trying to end a session of a server that can't be reached.
const PURSUIT: Duration = Duration::from_secs(60);

/// The name of the statement that each session of PostgreSQL has prepared.
const PREPARED: &str = "reflow_tracing_release";

fn shares_sessions() -> SqlError {
    refused(
        "the connection goes through a pooler in transaction mode, such as PgBouncer with `pool_mode = transaction`, \
         where time limits and locks reach other clients. Use `pool_mode = session`, or connect to the server itself",
    )
}

/// The connections of a database, opened on demand.
pub(super) struct Pool<D: Dialect> {
    options: Options<D>,
    call_timeout: Duration,
    budget: ConnectionBudget,
    /// The most recently used connection is last.
    idle: Mutex<Vec<Idle<D>>>,
    /// Whether statements about rows may run code of the database, such as triggers, whose effects a reset does not undo.
    runs_code: AtomicBool,
    /// Set once the database was looked at.
    examined: OnceCell<()>,
    /// One session at a time is ended, so that there is one connection more than allowed at most.
    ending: tokio::sync::Mutex<()>,
}

/// An open connection.
pub(super) struct Connected<D: Dialect> {
    pub connection: D::Connection,
    /// The session in the server.
    id: D::SessionId,
}

struct Idle<D: Dialect> {
    since: Instant,
    connected: Connected<D>,
    /// Whether a call has used it since it was reset.
    used: bool,
}

impl<D: Dialect> Pool<D> {
    pub(super) fn new(options: Options<D>, call_timeout: Duration, budget: ConnectionBudget) -> Self {
        Self {
            options: options.disable_statement_logging(),
            call_timeout,
            budget,
            idle: Mutex::default(),
            runs_code: AtomicBool::new(false),
            examined: OnceCell::new(),
            ending: tokio::sync::Mutex::default(),
        }
    }

    /// A connection whose session is as new. Fails when none becomes free in time.
    pub(super) async fn acquire(&self) -> Result<(Connected<D>, ConnectionPermit), SqlError> {
        let permit = self.budget.acquire().await.map_err(|TooManyConnections| SqlError::PoolExhausted)?;
        Ok((self.connected().await?, permit))
    }

    async fn connected(&self) -> Result<Connected<D>, SqlError> {
        while let Some(Idle { mut connected, used, .. }) = self.take_idle(|_| true) {
            // The server may have closed it.
            let is_fit = match used {
                true => self.reset(&mut connected).await,
                false => connected.connection.ping().await.is_ok(),
            };
            if is_fit {
                return Ok(connected);
            }
        }
        let mut connected = self.connect().await?;
        self.examined.get_or_try_init(|| self.examine(&mut connected)).await?;
        Ok(connected)
    }

    async fn connect(&self) -> Result<Connected<D>, SqlError> {
        let connect = async {
            let mut connection = self.options.connect().await?;
            let id = D::set_up(&mut connection, self.call_timeout).await?;
            Ok(Connected { connection, id })
        };
        match timeout(CONNECT_TIMEOUT, connect).await {
            Ok(connected) => connected.map_err(|error| match describe::<D>(error) {
                SqlError::ConnectionLost(message) => SqlError::ConnectionLost(format!("can't connect: {message}")),
                error => error,
            }),
            Err(_) => Err(SqlError::ConnectionLost(format!(
                "can't connect: no answer within {} s",
                CONNECT_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Looks at the database before its first use. Fails when sessions do not belong to connections.
    async fn examine(&self, connected: &mut Connected<D>) -> Result<(), SqlError> {
        if D::runs_code(&mut connected.connection).await.map_err(describe::<D>)? {
            self.runs_code.store(true, Ordering::Relaxed);
        }
        let mut other = match self.connect().await {
            Ok(other) => other,
            // The session that it was given has the statement of the first connection.
            Err(error) if format!("{error:?}").contains(PREPARED) => return Err(shares_sessions()),
            // A server without a place for another connection shows nothing.
            Err(_) => return Ok(()),
        };
        let shared = D::share_sessions(&mut connected.connection, &mut other.connection);
        let shared = shared.await.map_err(describe::<D>)?;
        // The answer is known.
        let _ = timeout(CONNECT_TIMEOUT, other.connection.close()).await;
        if shared { Err(shares_sessions()) } else { Ok(()) }
    }

    /// Makes a session as it was at first. Returns whether that succeeded.
    async fn reset(&self, connected: &mut Connected<D>) -> bool {
        matches!(D::reset(&mut connected.connection, self.call_timeout).await, Ok(true))
    }

    fn take_idle(&self, which: impl Fn(&Idle<D>) -> bool) -> Option<Idle<D>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let index = idle.iter().rposition(which)?;
        Some(idle.remove(index))
    }

    /// Keeps a connection for the next call.
    pub(super) fn give_back(self: &Arc<Self>, connected: Connected<D>, runtime: &Handle) {
        let is_first = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|idle| idle.since.elapsed() < IDLE_TIME);
            let is_first = !idle.iter().any(|idle| idle.used);
            idle.push(Idle { since: Instant::now(), connected, used: true });
            is_first
        };
        if is_first {
            runtime.spawn(Arc::clone(self).tidy());
        }
    }

    /// Resets the sessions that nobody uses again at once.
    async fn tidy(self: Arc<Self>) {
        loop {
            sleep(LINGER).await;
            // As one of the plugin's connections: a call that wants it meanwhile waits.
            while let Some(_permit) = self.budget.try_acquire()
                && let Some(mut idle) = self.take_idle(|idle| idle.used && idle.since.elapsed() >= LINGER)
            {
                if timeout(CONNECT_TIMEOUT, self.reset(&mut idle.connected)).await.unwrap_or(false) {
                    idle.used = false;
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
                }
            }
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if !idle.iter().any(|idle| idle.used) {
                return;
            }
        }
    }

    /// Whether a reset undoes what this statement does to its session. Call it before the statement runs.
    pub(super) fn is_undone(&self, statement: &str) -> bool {
        if D::defines_code(statement) {
            self.runs_code.store(true, Ordering::Relaxed);
        }
        !self.runs_code.load(Ordering::Relaxed) && D::is_undone(statement)
    }

    /// Ends a session whose statement nobody waits for. Returns when the server has ended it.
    pub(super) async fn end(&self, Connected { connection, id }: Connected<D>) {
        drop(connection);
        let _one = self.ending.lock().await;
        let begin = Instant::now();
        let (mut pause, mut other) = (Duration::from_millis(1), None);
        loop {
            match self.try_end(&mut other, &id).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    other = None;
                    if begin.elapsed() > PURSUIT {
                        tracing::warn!("can't end a statement that a plugin abandoned: {error}; it may still run");
                        return;
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Tells the server to end a session. Returns whether it is gone.
    async fn try_end(&self, other: &mut Option<D::Connection>, id: &D::SessionId) -> sqlx::Result<bool> {
        let attempt = async {
            let connection = match other {
                Some(connection) => connection,
                None => other.insert(self.options.connect().await?),
            };
            D::end(connection, id).await
        };
        timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }
}
