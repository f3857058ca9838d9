//! The way to the server, and what its errors mean.

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Error, PgConnection, PgPool, Postgres, Transaction};

use super::PostgresConfig;
use crate::storage::StorageError;

/// A server's database and the schema in it.
pub(super) struct Server {
    pub pool: PgPool,
    options: PgConnectOptions,
    /// Its name in messages: without the password.
    target: String,
    timeout: Duration,
    lost: Lost,
    resting: Resting,
}

/// The connection that was used last. Giving it to the pool, which tests what it gets, costs a round trip.
#[derive(Default)]
struct Resting {
    connection: Mutex<Option<(PoolConnection<Postgres>, Instant)>>,
    /// Those who wait for the pool, which knows nothing of this one.
    waiting: AtomicUsize,
}

/// A connection that has been in use for so long is the pool's to test and to replace.
const LONGEST_USE: Duration = Duration::from_secs(10);

/// Counts one who waits until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Resting {
    fn take(&self) -> Option<(PoolConnection<Postgres>, Instant)> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// When a connection was last found dead. Those that are older are tried before they are used again: a server that was
/// restarted has ended all of them.
#[derive(Clone, Default)]
struct Lost(Arc<Mutex<Option<Instant>>>);

impl Lost {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age may have been lost too.
    fn concerns(&self, age: Duration) -> bool {
        let lost = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.is_some_and(|lost| lost.elapsed() <= age)
    }
}

impl Server {
    /// Nothing is connected yet.
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, StorageError> {
        let options = options(config)?;
        let target = name(&options);
        let lost = Lost::default();
        let milliseconds = |limit: u64| (limit > 0).then(|| Duration::from_millis(limit));
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .min_connections(config.min_connections)
            .acquire_timeout(config.connection_timeout())
            .idle_timeout(milliseconds(config.idle_timeout_ms))
            .max_lifetime(milliseconds(config.max_lifetime_ms))
            // A round trip for every use; only connections in doubt are worth it.
            .test_before_acquire(false)
            .before_acquire({
                let lost = lost.clone();
                move |connection, meta| {
                    let in_doubt = lost.concerns(meta.age);
                    Box::pin(async move { Ok(!in_doubt || connection.ping().await.is_ok()) })
                }
            })
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options, target, timeout: config.connection_timeout(), lost, resting: Resting::default() })
    }

    /// A connection beside the pool. Unlike the pool it does not wait for a server that is not there.
    pub(super) async fn connect(&self) -> Result<PgConnection, StorageError> {
        match tokio::time::timeout(self.timeout, self.options.connect()).await {
            Ok(connected) => connected.map_err(|error| self.describe(error)),
            Err(_) => Err(StorageError::Unavailable(format!("{} does not answer", self.target))),
        }
    }

    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, StorageError> {
        Ok(self.acquire_for_use().await?.0)
    }

    /// A connection, and since when it is in use.
    pub(super) async fn acquire_for_use(&self) -> Result<(PoolConnection<Postgres>, Instant), StorageError> {
        let _waiting = Waiting::new(&self.resting.waiting);
        if let Some((connection, since)) = self.resting.take()
            && since.elapsed() < LONGEST_USE
        {
            return Ok((connection, since));
        }
        match self.pool.acquire().await {
            Ok(connection) => Ok((connection, Instant::now())),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Keeps a connection for the next call, after one that came to its end.
    pub(super) fn rest(&self, connection: PoolConnection<Postgres>, since: Instant) {
        let earlier = {
            let mut resting = self.resting.connection.lock().unwrap_or_else(PoisonError::into_inner);
            resting.replace((connection, since))
        };
        // Whoever began to wait before it was there does not look again.
        let wanted = self.resting.waiting.load(Ordering::SeqCst) > 0 || self.pool.is_closed();
        drop((earlier, wanted.then(|| self.resting.take())));
    }

    /// A transaction that is rolled back when it is dropped.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, StorageError> {
        let _waiting = Waiting::new(&self.resting.waiting);
        drop(self.resting.take());
        match self.pool.begin().await {
            Ok(transaction) => Ok(transaction),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Why the pool gave no connection.
    async fn explain(&self, error: Error) -> StorageError {
        if !matches!(error, Error::PoolTimedOut) {
            return self.describe(error);
        }
        let most = self.pool.options().get_max_connections();
        if self.pool.size() >= most && self.pool.num_idle() == 0 {
            return StorageError::Unavailable(format!(
                "all {most} connections to {} were busy for {:?}; raise `max_connections`, or `connection_timeout_ms` \
                 to wait longer",
                self.target, self.timeout
            ));
        }
        // The pool does not say what kept it from connecting.
        match self.connect().await {
            Ok(_) => self.describe(error),
            Err(error) => error,
        }
    }

    /// Waits for calls under way, but not for those who leave a stream unread.
    pub(super) async fn close(&self) {
        let closed = self.pool.close();
        drop(self.resting.take());
        let _ = tokio::time::timeout(self.timeout, closed).await;
    }

    /// Notes when `error` says that its connection is dead. Whether it does.
    pub(super) fn is_lost(&self, error: &Error) -> bool {
        let lost = match error {
            Error::Io(_) | Error::Protocol(_) | Error::WorkerCrashed => true,
            error => code(error).is_some_and(|code| code.starts_with("08") || code.starts_with("57P")),
        };
        if lost {
            self.lost.now();
        }
        lost
    }

    /// What an error means to the one who asked.
    pub(super) fn describe(&self, error: Error) -> StorageError {
        let target = &self.target;
        let Some(code) = code(&error) else {
            return match error {
                Error::Configuration(problem) => configuration(problem),
                Error::Tls(problem) => StorageError::Configuration(format!(
                    "{target} can't be spoken to over TLS: {problem}; see `sslmode` and `sslrootcert` in \
                     `connection_url`"
                )),
                Error::Decode(problem) | Error::ColumnDecode { source: problem, .. } => {
                    StorageError::Corrupt(format!("in {target}: {problem}"))
                }
                Error::PoolClosed => StorageError::Unavailable(format!("the store in {target} was closed")),
                Error::PoolTimedOut => {
                    StorageError::Unavailable(format!("{target} gave no connection within {:?}", self.timeout))
                }
                Error::Io(_) => {
                    StorageError::Unavailable(format!("{target} can't be reached: {error}; is the server running?"))
                }
                Error::Protocol(_) | Error::WorkerCrashed => {
                    StorageError::Unavailable(format!("the connection to {target} broke: {error}"))
                }
                other => StorageError::Other { message: format!("{target}: {other}"), retryable: false },
            };
        };
        let said = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        match code.as_str() {
            "28P01" | "28000" => StorageError::Configuration(format!(
                "{target} refuses the user: {said}; see the user and the password in `connection_url`"
            )),
            "3D000" => StorageError::Configuration(format!("{target}: {said}; create it, for example with `createdb`")),
            "42501" => StorageError::Configuration(format!(
                "{target}: {said}; grant it to the user, or have the owner of the tables run what `reflow-tracing schema \
                 --backend postgres` prints"
            )),
            "42P01" | "42703" | "42883" | "3F000" => StorageError::Configuration(format!(
                "{target}: {said}; the tables were removed or changed. `reflow-tracing schema --backend postgres` prints \
                 what creates them"
            )),
            "42P06" | "42P07" | "42710" | "42723" => StorageError::Configuration(format!(
                "{target}: {said}: the schema holds something of another program; set `schema_name` to another one"
            )),
            "53100" => StorageError::Exhausted(format!("{target}: {said}")),
            "54000" => StorageError::InvalidArgument(format!("{target}: {said}")),
            "57014" => StorageError::Unavailable(format!("{target} stopped a statement: {said}")),
            "25006" => StorageError::Unavailable(format!("{target} can't be written: {said}")),
            "XX001" | "XX002" => StorageError::Corrupt(format!("in {target}: {said}")),
            code if ["08", "40", "53", "55", "57", "58"].contains(&&code[..2]) => {
                StorageError::Unavailable(format!("{target}: {said}"))
            }
            _ => StorageError::Other { message: format!("{target}: {said} ({code})"), retryable: false },
        }
    }
}

/// The SQLSTATE that the server gave.
pub(super) fn code(error: &Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Into::into)
}

/// `text` as a name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn options(config: &PostgresConfig) -> Result<PgConnectOptions, StorageError> {
    let url = &config.connection_url;
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        return Err(configuration("it must begin with `postgresql://`"));
    }
    Ok(PgConnectOptions::from_str(url)
        .map_err(configuration)?
        .application_name("reflow-tracing")
        .options([
            ("search_path", quoted(&config.schema_name).as_str()),
            // The server keeps plans. One that was made while a table was small would go on to read all of it.
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ])
        .disable_statement_logging())
}

fn configuration(problem: impl std::fmt::Display) -> StorageError {
    StorageError::Configuration(format!(
        "`connection_url` is no URL of a PostgreSQL database: {problem}; for example \
         postgresql://user:password@localhost/traces"
    ))
}

fn name(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("the PostgreSQL database {database} at {}", socket.display()),
        None => format!("the PostgreSQL database {database} at {}:{}", options.get_host(), options.get_port()),
    }
}

/// Runs statements on a connection of the pool: once more on another one when the first was dead.
macro_rules! retried {
    ($server:expr, |$connection:ident| $work:expr) => {{
        let server = &*$server;
        let mut again = true;
        loop {
            let (mut acquired, since) = server.acquire_for_use().await?;
            let $connection = &mut *acquired;
            let outcome: sqlx::Result<_> = async { $work }.await;
            match outcome {
                Ok(found) => {
                    server.rest(acquired, since);
                    break Ok(found);
                }
                Err(error) if server.is_lost(&error) && again => again = false,
                Err(error) => break Err(server.describe(error)),
            }
        }
    }};
}

pub(super) use retried;
