//! Connections to the server, and the conversion of its errors.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reflow_tracing_storage::StorageError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Error, Executor, PgConnection, PgPool, Postgres};

use super::config::PostgresConfig;
use super::{pooler, url};
use reflow_tracing_storage::task::Supervised;

/// A server with the database.
pub(super) struct Server {
    pub pool: PgPool,
    options: PgConnectOptions,
    /// The statements that set up each session.
    set_up: Arc<str>,
    /// The setting that contains its URL.
    setting: &'static str,
    /// Its name in messages, without the password.
    pub target: String,
    timeout: Duration,
    lost: Lost,
    resting: Arc<Resting>,
}

/// A connection borrowed from the pool.
pub(super) struct Session {
    pub connection: PoolConnection<Postgres>,
    since: Instant,
    /// The replica's last known position in the primary's log, as seen on this connection.
    pub replayed: i64,
}

/// The idle session that was used last. Returning a connection to the pool costs a round trip, because the pool tests it.
struct Resting {
    session: Mutex<Option<Session>>,
    /// A connection used for longer than this goes back to the pool, which tests and replaces it.
    longest: Duration,
    /// The number of calls that wait for the pool, which doesn't know this connection.
    waiting: AtomicUsize,
}

const LONGEST_USE: Duration = Duration::from_secs(10);

/// Counts a waiting call until it is dropped.
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
    fn new(longest: Duration) -> Arc<Self> {
        let resting = Arc::new(Self { session: Mutex::default(), longest, waiting: AtomicUsize::new(0) });
        let weak = Arc::downgrade(&resting);
        // Returns when the server is dropped.
        Supervised::start("giving back a resting connection", move || {
            let weak = weak.clone();
            async move {
                loop {
                    tokio::time::sleep(longest).await;
                    match weak.upgrade() {
                        Some(resting) => resting.give_back(),
                        None => return,
                    }
                }
            }
        })
        .detached();
        resting
    }

    /// Returns the idle session to the pool once it is old, because no call does that while there are none.
    fn give_back(&self) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let given = session.take_if(|session| session.since.elapsed() >= self.longest);
        drop(session);
        drop(given);
    }

    fn take(&self) -> Option<Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// When a connection was last found broken. Connections older than that are tested before use, because a server restart breaks
/// all of them.
#[derive(Clone, Default)]
struct Lost(Arc<Mutex<Option<Instant>>>);

impl Lost {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age may be broken too.
    fn concerns(&self, age: Duration) -> bool {
        let lost = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.is_some_and(|lost| lost.elapsed() <= age)
    }
}

impl Server {
    /// The server at `connection_url`. Does not connect yet.
    pub(super) fn primary(config: &PostgresConfig) -> Result<Self, StorageError> {
        Self::new(config, "connection_url", &config.connection_url, config.connection_timeout())
    }

    /// The server at the URL in `setting`. Does not connect yet.
    pub(super) fn new(
        config: &PostgresConfig,
        setting: &'static str,
        url: &str,
        timeout: Duration,
    ) -> Result<Self, StorageError> {
        let options = options(setting, url)?;
        let set_up: Arc<str> = session(config, &options).into();
        let target = name(&options);
        let lost = Lost::default();
        let milliseconds = |limit: u64| (limit > 0).then(|| Duration::from_millis(limit));
        let (idle, lifetime) = (milliseconds(config.idle_timeout_ms), milliseconds(config.max_lifetime_ms));
        let longest = [idle, lifetime].into_iter().flatten().fold(LONGEST_USE, Duration::min);
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .min_connections(config.min_connections)
            .acquire_timeout(timeout)
            .idle_timeout(idle)
            .max_lifetime(lifetime)
            // Testing costs a round trip, so only connections in doubt are tested.
            .test_before_acquire(false)
            .before_acquire({
                let lost = lost.clone();
                move |connection, meta| {
                    let in_doubt = lost.concerns(meta.age);
                    Box::pin(async move { Ok(!in_doubt || connection.ping().await.is_ok()) })
                }
            })
            .after_connect({
                let set_up = set_up.clone();
                move |connection, _| Box::pin(prepare(connection, set_up.clone()))
            })
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options, set_up, setting, target, timeout, lost, resting: Resting::new(longest) })
    }

    /// A connection outside of the pool. Unlike the pool, it fails immediately if the server can't be reached.
    pub(super) async fn connect(&self) -> Result<PgConnection, StorageError> {
        let connect = async {
            let mut connection = self.options.connect().await?;
            prepare(&mut connection, self.set_up.clone()).await?;
            Ok(connection)
        };
        match tokio::time::timeout(self.timeout, connect).await {
            Ok(connected) => connected.map_err(|error| self.describe(error)),
            Err(_) => Err(StorageError::Unavailable(format!("{} does not answer", self.target))),
        }
    }

    /// Fails if connections share sessions of the server.
    pub(super) async fn check_sessions(&self) -> Result<(), StorageError> {
        let mut one = self.connect().await?;
        // A server without a place for another connection shows nothing.
        let Ok(mut other) = self.connect().await else { return Ok(()) };
        let shared = pooler::share_sessions(&mut one, &mut other).await.map_err(|error| self.describe(error))?;
        // The answer is known.
        let _ = (one.close().await, other.close().await);
        match shared {
            false => Ok(()),
            true => Err(StorageError::Configuration(format!(
                "{} is reached through a pooler in transaction mode, such as PgBouncer with `pool_mode = transaction`. The host \
                 locks and sets things for its session, which would reach other clients. Use `pool_mode = session` for this \
                 database, or the address of the server itself in `{}`",
                self.target, self.setting
            ))),
        }
    }

    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, StorageError> {
        Ok(self.session().await?.connection)
    }

    pub(super) async fn session(&self) -> Result<Session, StorageError> {
        match self.try_session().await {
            Ok(session) => Ok(session),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Like [`session`](Self::session), but without the reason for a failure.
    pub(super) async fn try_session(&self) -> sqlx::Result<Session> {
        let _waiting = Waiting::new(&self.resting.waiting);
        if let Some(session) = self.resting.take()
            && session.since.elapsed() < self.resting.longest
        {
            return Ok(session);
        }
        let connection = self.pool.acquire().await?;
        Ok(Session { connection, since: Instant::now(), replayed: i64::MIN })
    }

    /// Whether a call waits for a connection and none is left.
    pub(super) fn is_short(&self) -> bool {
        self.resting.waiting.load(Ordering::SeqCst) > 0
            && self.pool.num_idle() == 0
            && self.pool.size() >= self.pool.options().get_max_connections()
    }

    /// How long a connection may be used before it goes back to the pool, which tests and replaces it.
    pub(super) fn longest_use(&self) -> Duration {
        self.resting.longest
    }

    /// Keeps the session of a completed call for the next call.
    pub(super) fn rest(&self, session: Session) {
        let earlier = {
            let mut resting = self.resting.session.lock().unwrap_or_else(PoisonError::into_inner);
            resting.replace(session)
        };
        // A call that started to wait earlier does not look again.
        let wanted = self.resting.waiting.load(Ordering::SeqCst) > 0 || self.pool.is_closed();
        drop((earlier, wanted.then(|| self.resting.take())));
    }

    /// The reason why the pool returned no connection.
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
        // The pool does not report why it could not connect.
        match self.connect().await {
            Ok(_) => self.describe(error),
            Err(error) => error,
        }
    }

    /// Waits for calls in progress, but not for streams that nobody reads.
    pub(super) async fn close(&self) {
        let closed = self.pool.close();
        drop(self.resting.take());
        let _ = tokio::time::timeout(self.timeout, closed).await;
    }

    /// Records that a connection is broken if `error` says so. Returns whether it does.
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

    /// A rejected certificate is reported as invalid input. Over TCP, unreadable files are those that the URL names.
    fn is_of_tls(&self, problem: &io::Error) -> bool {
        match problem.kind() {
            io::ErrorKind::InvalidData => true,
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => self.options.get_socket().is_none(),
            _ => false,
        }
    }

    fn no_tls(&self, problem: &dyn std::error::Error) -> StorageError {
        let Self { target, setting, .. } = self;
        StorageError::Configuration(format!(
            "{target} can't be reached over TLS: {problem}; see `sslmode` and `sslrootcert` in `{setting}`"
        ))
    }

    /// Converts an error of this server.
    pub(super) fn describe(&self, error: Error) -> StorageError {
        let Self { target, setting, .. } = self;
        let Some(code) = code(&error) else {
            return match error {
                Error::Configuration(problem) => configuration(setting, problem),
                Error::Tls(problem) => self.no_tls(&*problem),
                Error::Io(problem) if self.is_of_tls(&problem) => self.no_tls(&problem),
                Error::Decode(problem) | Error::ColumnDecode { source: problem, .. } => {
                    StorageError::Corrupt(format!("in {target}: {problem}"))
                }
                Error::PoolClosed => StorageError::Unavailable(format!("the store in {target} was closed")),
                Error::PoolTimedOut => {
                    StorageError::Unavailable(format!("{target} did not connect within {:?}", self.timeout))
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
                "{target} rejects the user: {said}; check the user and the password in `{setting}`"
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
                "{target}: {said}: the schema contains objects of another program; set `schema_name` to another one"
            )),
            "53100" => StorageError::Exhausted(format!("{target}: {said}")),
            // What the server or a trigger of the operator's says of a row: a matter of that row.
            "54000" | "P0001" => StorageError::InvalidArgument(format!("{target}: {said}")),
            "57014" => StorageError::Unavailable(format!("{target} stopped a statement: {said}")),
            "25006" => StorageError::Unavailable(format!("{target} can't be written: {said}")),
            "XX001" | "XX002" => StorageError::Corrupt(format!("in {target}: {said}")),
            code if ["22", "23"].contains(&&code[..2]) => StorageError::InvalidArgument(format!("{target}: {said}")),
            code if ["08", "40", "53", "55", "57", "58"].contains(&&code[..2]) => {
                StorageError::Unavailable(format!("{target}: {said}"))
            }
            _ => StorageError::Other { message: format!("{target}: {said} ({code})"), retryable: false },
        }
    }
}

/// The SQLSTATE of an error.
pub(super) fn code(error: &Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Into::into)
}

/// Sets up a session.
async fn prepare(connection: &mut PgConnection, statements: Arc<str>) -> sqlx::Result<()> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statements))).await?;
    Ok(())
}

/// `name` as a quoted SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Session settings, unless the URL overrides them.
const SESSION: [(&str, &str); 2] = [
    // The server caches plans. A plan made while a table was small would keep scanning the whole table.
    ("enable_seqscan", "off"),
    ("jit", "off"),
];

impl PostgresConfig {
    /// Fails with [`StorageError::Configuration`] on settings that can't be used, without connecting. The error shows no part of
    /// a URL.
    pub fn check(&self) -> Result<(), StorageError> {
        if let Some(problem) = self.problem() {
            return Err(StorageError::Configuration(format!("in the settings of PostgreSQL: {problem}")));
        }
        options("connection_url", &self.connection_url)?;
        self.read_replica_url.as_ref().map_or(Ok(()), |url| options("read_replica_url", url).map(drop))
    }
}

/// The options of a URL, without what is of a session.
fn options(setting: &str, url: &str) -> Result<PgConnectOptions, StorageError> {
    let options = url::parse(url).map_err(|problem| configuration(setting, problem))?;
    // What a pooler between here and the server may not know is set after connecting.
    Ok(options.application_name("reflow-tracing").disable_statement_logging())
}

/// The statements that set up a session of this program.
fn session(config: &PostgresConfig, options: &PgConnectOptions) -> String {
    let mut statements = format!("SET search_path TO {};", quoted(&config.schema_name));
    let given = options.get_options().unwrap_or_default();
    for (name, value) in SESSION.into_iter().filter(|(name, _)| !given.contains(name)) {
        statements += &format!(" SET {name} = {value};");
    }
    if config.read_only {
        statements += " SET default_transaction_read_only = on;";
    }
    statements
}

fn configuration(setting: &str, problem: impl std::fmt::Display) -> StorageError {
    StorageError::Configuration(format!(
        "`{setting}` is not a URL of a PostgreSQL database: {problem}; for example \
         postgresql://user:password@localhost/traces"
    ))
}

fn name(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("the PostgreSQL database {database} at {}", socket.display()),
        None => {
            let (host, port) = (options.get_host(), options.get_port());
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            format!("the PostgreSQL database {database} at {host}:{port}")
        }
    }
}
