//! Requests to the server, and the conversion of its errors.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clickhouse::error::Error;
use clickhouse::query::RowCursor;
use clickhouse::{Client, Compression, RowOwned, RowRead};
use reflow_tracing_storage::StorageError;

use super::config::{ClickHouseConfig, CompressionMethod};
use super::tables::Tables;

/// How long to wait beyond the server's own time limit.
const GRACE: Duration = Duration::from_secs(15);

/// A server with its tables.
pub(super) struct Server {
    pub client: Client,
    pub tables: Tables,
    /// Its name in messages, without the password.
    pub target: String,
    limit: Option<Duration>,
    /// The ids that fit into a statement.
    pub ids_at_once: usize,
    closed: AtomicBool,
}

/// Ids in a statement of at most 4 MiB.
const IDS: usize = 10_000;
/// Ids in a statement of the server's default length, 256 KiB. An id takes 39 bytes.
const IDS_BY_DEFAULT: usize = 5_000;

impl Server {
    /// Does not connect yet.
    pub(super) fn new(config: &ClickHouseConfig) -> Self {
        let mut server = Self::without_settings(config);
        server.set_settings(config);
        server
    }

    /// The server for a store that is only read. The profile of the user may forbid to change settings.
    pub(super) async fn to_read(config: &ClickHouseConfig) -> Result<Self, StorageError> {
        let mut server = Self::without_settings(config);
        if server.row::<u64>("SELECT toUInt64(getSetting('readonly'))").await? != 1 {
            server.set_settings(config);
        }
        Ok(server)
    }

    fn without_settings(config: &ClickHouseConfig) -> Self {
        let mut client = Client::default()
            .with_url(&config.url)
            .with_compression(match config.compression {
                CompressionMethod::None => Compression::None,
                CompressionMethod::LZ4 => Compression::Lz4,
            })
            // The schema version was checked, so statements need not fetch the columns first.
            .with_validation(false)
            .with_product_info("reflow-tracing", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &config.username {
            client = client.with_user(username);
        }
        if let Some(password) = &config.password {
            client = client.with_password(password);
        }
        Self {
            client,
            tables: Tables::new(config),
            target: format!("the ClickHouse database {} at {}", config.database, config.url),
            limit: (config.max_execution_time_ms > 0)
                .then(|| Duration::from_millis(config.max_execution_time_ms).saturating_add(GRACE)),
            ids_at_once: IDS_BY_DEFAULT,
            closed: AtomicBool::new(false),
        }
    }

    /// Sets what each statement depends on.
    fn set_settings(&mut self, config: &ClickHouseConfig) {
        let client = &mut self.client;
        // Set even if they are the defaults, because the defaults differ between server versions.
        let settings = [
            ("async_insert", "0"),
            ("insert_deduplicate", "1"),
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
            ("lightweight_deletes_sync", "2"),
            ("cancel_http_readonly_queries_on_client_close", "1"),
            // Statements list the ids of a page.
            ("max_query_size", "4194304"),
            // Counts group by id. In the order of the table this needs little memory; otherwise the server spills to disk.
            ("optimize_aggregation_in_order", "1"),
        ];
        for (name, value) in settings {
            client.set_setting(name, value);
        }
        if config.cluster.is_some() {
            for (name, value) in [
                // The shard stores the rows before the server answers, instead of queueing them.
                ("distributed_foreground_insert", "1"),
                ("insert_quorum", "auto"),
                // Reads use the same replica as writes.
                ("load_balancing", "in_order"),
                ("prefer_localhost_replica", "0"),
            ] {
                client.set_setting(name, value);
            }
        }
        if config.max_memory_usage > 0 {
            client.set_setting("max_memory_usage", config.max_memory_usage.to_string());
            for name in ["max_bytes_before_external_group_by", "max_bytes_before_external_sort"] {
                client.set_setting(name, (config.max_memory_usage / 2).to_string());
            }
        }
        if config.max_execution_time_ms > 0 {
            let seconds = Duration::from_millis(config.max_execution_time_ms).as_secs_f64();
            client.set_setting("max_execution_time", seconds.to_string());
        }
        self.ids_at_once = IDS;
    }

    /// Makes all further calls fail.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn check_open(&self) -> Result<(), StorageError> {
        match self.closed.load(Ordering::SeqCst) {
            true => Err(StorageError::Unavailable(format!("the store in {} was closed", self.target))),
            false => Ok(()),
        }
    }

    /// Waits at most as long as a statement may take.
    pub(super) async fn within_limit<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.limit {
            None => work.await,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::TimedOut)),
        }
    }

    /// All rows of a `SELECT`. Retries once if the connection is broken, because a server restart breaks idle connections.
    pub(super) async fn rows<T: RowOwned + RowRead>(&self, sql: &str) -> Result<Vec<T>, StorageError> {
        self.check_open()?;
        let mut outcome = self.within_limit(self.client.query_raw(sql).fetch_all()).await;
        if let Err(Error::Network(_)) = outcome {
            outcome = self.within_limit(self.client.query_raw(sql).fetch_all()).await;
        }
        outcome.map_err(|error| self.describe(error))
    }

    /// The one row of a `SELECT`.
    pub(super) async fn row<T: RowOwned + RowRead>(&self, sql: &str) -> Result<T, StorageError> {
        let missing = || StorageError::Corrupt(format!("{} returned no row", self.target));
        self.rows(sql).await?.pop().ok_or_else(missing)
    }

    /// The rows of a `SELECT` as a stream.
    pub(super) fn cursor<T: RowOwned + RowRead>(&self, sql: &str) -> Result<RowCursor<T>, StorageError> {
        self.check_open()?;
        self.client.query_raw(sql).fetch().map_err(|error| self.describe(error))
    }

    /// Runs a statement without a result.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), StorageError> {
        self.check_open()?;
        self.within_limit(self.client.query_raw(sql).execute()).await.map_err(|error| self.describe(error))
    }

    /// Converts an error of the client.
    pub(super) fn describe(&self, error: Error) -> StorageError {
        let target = &self.target;
        match error {
            Error::BadResponse(said) => self.explain(&said),
            Error::Network(problem) => StorageError::Unavailable(format!(
                "{target} can't be reached: {}; is the server running?",
                with_causes(&*problem)
            )),
            Error::TimedOut => StorageError::Unavailable(format!(
                "{target} did not answer in time; raise `max_execution_time_ms` if the query needs longer"
            )),
            Error::InvalidParams(problem) => {
                StorageError::Configuration(format!("`url` is not a URL of a ClickHouse server: {problem}"))
            }
            error @ (Error::NotEnoughData
            | Error::DataFormat(_)
            | Error::Decompression(_)
            | Error::InvalidUtf8Encoding(_)
            | Error::InvalidTagEncoding(_)
            | Error::Custom(_)) => StorageError::Corrupt(format!("in {target}: {error}")),
            other => StorageError::Other { message: format!("{target}: {other}"), retryable: false },
        }
    }

    /// Converts an exception of the server. The codes are from `ErrorCodes.cpp` in its source.
    fn explain(&self, said: &str) -> StorageError {
        let target = &self.target;
        let code = code(said);
        // Remove the version, which ends every message.
        let said = said.split(" (version ").next().unwrap_or(said).trim();
        match code {
            Some(192..=195 | 516) => StorageError::Configuration(format!(
                "{target} rejects the user: {said}; check `username` and `password`"
            )),
            Some(164 | 497) => StorageError::Configuration(format!(
                "{target}: {said}; the user needs to read, insert and delete, and to change settings of a statement"
            )),
            Some(16 | 47 | 60 | 81) => StorageError::Configuration(format!(
                "{target}: {said}; the tables were removed or changed. `reflow-tracing schema --backend clickhouse` prints \
                 what creates them"
            )),
            Some(57 | 36 | 392 | 701) => StorageError::Configuration(format!("{target}: {said}")),
            Some(241) if !said.contains("(total)") => {
                StorageError::Exhausted(format!("{target}: {said}; raise `max_memory_usage`, or request less data"))
            }
            Some(158 | 243 | 307 | 396) => StorageError::Exhausted(format!("{target}: {said}")),
            Some(159 | 160) => StorageError::Unavailable(format!(
                "{target}: {said}; raise `max_execution_time_ms`, or request less data"
            )),
            // A constraint that the operator added: a matter of a row.
            Some(469) => StorageError::InvalidArgument(format!("{target}: {said}")),
            Some(40 | 246) => StorageError::Corrupt(format!("in {target}: {said}")),
            Some(
                3 | 95 | 198 | 202 | 209 | 210 | 225 | 236 | 241 | 242 | 252 | 279 | 285 | 286 | 289 | 319 | 394 | 415
                | 416 | 425 | 439 | 999,
            ) => StorageError::Unavailable(format!("{target}: {said}")),
            // The response is from a proxy, not from the server.
            None if said.starts_with("502") || said.starts_with("503") || said.starts_with("504") => {
                StorageError::Unavailable(format!("{target}: {said}"))
            }
            _ => StorageError::Other { message: format!("{target}: {said}"), retryable: false },
        }
    }
}

/// The number in `Code: 81. DB::Exception: ..`.
fn code(said: &str) -> Option<u32> {
    let (_, after) = said.split_once("Code: ")?;
    let digits = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok()
}

/// An error with its causes, because the outermost error of a connection has little information.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
