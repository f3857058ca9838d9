//! The way to the server, and what its errors mean.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clickhouse::error::Error;
use clickhouse::query::{Query, RowCursor};
use clickhouse::{Client, Compression, RowOwned, RowRead};
use reflow_tracing_storage::StorageError;

use super::ClickHouseConfig;
use super::config::CompressionMethod;
use super::schema::Tables;

/// What an answer may take beyond the time that the server allows itself.
const GRACE: Duration = Duration::from_secs(15);

/// A server, and the tables in it.
pub(super) struct Server {
    client: Client,
    pub tables: Tables,
    /// Its name in messages: without the password.
    target: String,
    limit: Option<Duration>,
    closed: AtomicBool,
}

impl Server {
    /// Nothing is connected yet.
    pub(super) fn new(config: &ClickHouseConfig) -> Self {
        let mut client = Client::default()
            .with_url(&config.url)
            .with_compression(match config.compression {
                CompressionMethod::None => Compression::None,
                CompressionMethod::LZ4 => Compression::Lz4,
            })
            // The tables are this program's, whose version was checked: no statement has to ask for their columns first.
            .with_validation(false)
            .with_product_info("reflow-tracing", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &config.username {
            client = client.with_user(username);
        }
        if let Some(password) = &config.password {
            client = client.with_password(password);
        }
        // Said even where they are the defaults: these have changed from one version of the server to another.
        let settings = [
            ("async_insert", "0"),
            ("insert_deduplicate", "1"),
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
            ("lightweight_deletes_sync", "2"),
            ("cancel_http_readonly_queries_on_client_close", "1"),
            // Ids of the traces of a page.
            ("max_query_size", "4194304"),
            // Counting groups traces and events by id: in the order of the table it takes little memory, else the disk helps.
            ("optimize_aggregation_in_order", "1"),
        ];
        for (name, value) in settings {
            client.set_setting(name, value);
        }
        if config.cluster.is_some() {
            for (name, value) in [
                // Stored by the shard, not queued by the server that was asked.
                ("distributed_foreground_insert", "1"),
                ("insert_quorum", "auto"),
                // Reads go to the replica that writes go to.
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
        Self {
            client,
            tables: Tables::new(config),
            target: format!("the ClickHouse database {} at {}", config.database, config.url),
            limit: (config.max_execution_time_ms > 0)
                .then(|| Duration::from_millis(config.max_execution_time_ms).saturating_add(GRACE)),
            closed: AtomicBool::new(false),
        }
    }

    /// From now on every call fails.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn check_open(&self) -> Result<(), StorageError> {
        match self.closed.load(Ordering::SeqCst) {
            true => Err(StorageError::Unavailable(format!("the store in {} was closed", self.target))),
            false => Ok(()),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for the server no longer than a statement may take.
    pub(super) async fn within_limit<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.limit {
            None => work.await,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::TimedOut)),
        }
    }

    fn query(&self, sql: &str) -> Query {
        self.client.query_raw(sql)
    }

    /// All rows of a `SELECT`. Asked once more when the connection turns out to be dead: a server that was restarted has ended
    /// those that were kept.
    pub(super) async fn rows<T: RowOwned + RowRead>(&self, sql: &str) -> Result<Vec<T>, StorageError> {
        self.check_open()?;
        let mut outcome = self.within_limit(self.query(sql).fetch_all()).await;
        if let Err(Error::Network(_)) = outcome {
            outcome = self.within_limit(self.query(sql).fetch_all()).await;
        }
        outcome.map_err(|error| self.describe(error))
    }

    /// The one row of a `SELECT`.
    pub(super) async fn row<T: RowOwned + RowRead>(&self, sql: &str) -> Result<T, StorageError> {
        let missing = || StorageError::Corrupt(format!("{} answered with no row", self.target));
        self.rows(sql).await?.pop().ok_or_else(missing)
    }

    /// The rows of a `SELECT` one after another.
    pub(super) fn cursor<T: RowOwned + RowRead>(&self, sql: &str) -> Result<RowCursor<T>, StorageError> {
        self.check_open()?;
        self.query(sql).fetch().map_err(|error| self.describe(error))
    }

    /// Runs a statement that answers nothing.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), StorageError> {
        self.check_open()?;
        self.within_limit(self.query(sql).execute()).await.map_err(|error| self.describe(error))
    }

    /// What an error means to the one who asked.
    pub(super) fn describe(&self, error: Error) -> StorageError {
        let target = &self.target;
        match error {
            Error::BadResponse(said) => self.explain(&said),
            Error::Network(problem) => StorageError::Unavailable(format!(
                "{target} can't be reached: {}; is the server running?",
                with_causes(&*problem)
            )),
            Error::TimedOut => {
                StorageError::Unavailable(format!("{target} did not answer in time; see `max_execution_time_ms`"))
            }
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

    /// What the server means with an exception. Its codes are those of `ErrorCodes.cpp` in its source.
    fn explain(&self, said: &str) -> StorageError {
        let target = &self.target;
        let code = code(said);
        // Without the version, which every message ends with.
        let said = said.split(" (version ").next().unwrap_or(said).trim();
        match code {
            Some(192..=195 | 516) => {
                StorageError::Configuration(format!("{target} refuses the user: {said}; see `username` and `password`"))
            }
            Some(164 | 497) => StorageError::Configuration(format!(
                "{target}: {said}; the user needs to read, insert and delete, and to change settings of a statement"
            )),
            Some(16 | 47 | 60 | 81) => StorageError::Configuration(format!(
                "{target}: {said}; the tables were removed or changed. `reflow-tracing schema --backend clickhouse` prints \
                 what creates them"
            )),
            Some(57 | 36 | 392 | 701) => StorageError::Configuration(format!("{target}: {said}")),
            Some(241) if !said.contains("(total)") => {
                StorageError::Exhausted(format!("{target}: {said}; raise `max_memory_usage`, or ask for less"))
            }
            Some(158 | 243 | 307 | 396) => StorageError::Exhausted(format!("{target}: {said}")),
            Some(159 | 160) => {
                StorageError::Unavailable(format!("{target}: {said}; raise `max_execution_time_ms`, or ask for less"))
            }
            Some(40 | 246) => StorageError::Corrupt(format!("in {target}: {said}")),
            Some(
                3 | 95 | 198 | 202 | 209 | 210 | 225 | 236 | 241 | 242 | 252 | 279 | 285 | 286 | 289 | 319 | 394 | 415
                | 416 | 425 | 439 | 999,
            ) => StorageError::Unavailable(format!("{target}: {said}")),
            // Something between here and the server: it does not speak for it.
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

/// An error and what it came from: the outermost one of a connection says next to nothing.
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
