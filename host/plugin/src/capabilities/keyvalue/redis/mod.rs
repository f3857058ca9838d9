//! `redis://..`: a bucket on a Redis server. Every function is one script, so it is atomic.

use std::ops::Bound;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, RedisError, Script, ScriptInvocation};
use tokio::sync::OnceCell;

use super::error_reporter::ErrorReporter;
use super::store::{Page, Scan, Store, too_many_bytes};
use crate::capabilities::connections::{ConnectionBudget, ConnectionPermit, TooManyConnections};
use crate::contract::bindings::reflow::capabilities::keyvalue::{Change, Entry, KeyvalueError};

/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

macro_rules! script {
    ($name:ident, $file:literal) => {
        static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("head.lua"), "\n", include_str!($file))));
    };
}

script!(GET, "get.lua");
script!(DELETE, "delete.lua");
script!(APPLY, "apply.lua");
script!(COMPARE_AND_SET, "compare_and_set.lua");
script!(INSERT, "insert.lua");
script!(COUNT, "count.lua");
script!(SCAN, "scan.lua");

pub(super) struct Redis {
    client: Client,
    /// The hash of the values, the index, the times of expiry.
    keys: [Vec<u8>; 3],
    /// Shared by all instances. Connects at the first call and reconnects automatically.
    connection: OnceCell<(ConnectionManager, ConnectionPermit)>,
    connections: ConnectionBudget,
    response_timeout: Duration,
    reporter: ErrorReporter,
}

impl Redis {
    /// A bucket whose keys begin with `prefix`.
    pub(super) fn new(
        client: Client,
        prefix: &str,
        connections: &ConnectionBudget,
        response_timeout: Duration,
        reporter: ErrorReporter,
    ) -> Self {
        let keys = ["values", "index", "expiring"].map(|part| format!("{prefix}{part}").into_bytes());
        let connections = connections.clone();
        Self { client, keys, connection: OnceCell::new(), connections, response_timeout, reporter }
    }

    fn prepare(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        for key in &self.keys {
            call.key(key);
        }
        call
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, KeyvalueError> {
        let connected = self.connection.get_or_try_init(|| async {
            let permit =
                self.connections.acquire().await.map_err(|TooManyConnections| self.reporter.too_many_connections())?;
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(self.response_timeout))
                .set_number_of_retries(1);
            let connection = ConnectionManager::new_with_config(self.client.clone(), config).await;
            Ok((connection.map_err(|error| self.describe(&error))?, permit))
        });
        let mut connection = connected.await?.0.clone();
        call.invoke_async(&mut connection).await.map_err(|error| self.describe(&error))
    }

    fn describe(&self, error: &RedisError) -> KeyvalueError {
        if error.code() == Some("TOOMANYBYTES") {
            return KeyvalueError::LimitExceeded(String::new());
        }
        let (redacted, what): (fn(String) -> KeyvalueError, _) = if error.is_timeout() {
            (|_| KeyvalueError::Timeout, "did not answer in time")
        } else if error.kind() == redis::ErrorKind::AuthenticationFailed || error.code() == Some("NOPERM") {
            (KeyvalueError::AccessDenied, "refused the user or the password in the grant")
        } else if error.is_io_error() || error.is_connection_refusal() || error.is_connection_dropped() {
            (KeyvalueError::Unavailable, "can't be reached")
        } else if error.code() == Some("OOM") {
            (KeyvalueError::LimitExceeded, "is out of memory")
        } else {
            (KeyvalueError::Other, "refused the command")
        };
        self.reporter.report(error, redacted(format!("the bucket's Redis server {what}; the host's log has details")))
    }
}

fn millis(ttl: Option<Duration>) -> String {
    ttl.map_or(String::new(), |ttl| ttl.as_millis().to_string())
}

#[async_trait]
impl Store for Redis {
    async fn get(&self, keys: Vec<Vec<u8>>, max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, KeyvalueError> {
        let mut call = self.prepare(&GET);
        call.arg(max_bytes).arg(keys);
        self.run(&call).await.map_err(|error| match error {
            KeyvalueError::LimitExceeded(_) => too_many_bytes(max_bytes),
            other => other,
        })
    }

    async fn delete(&self, key: Vec<u8>) -> Result<bool, KeyvalueError> {
        let mut call = self.prepare(&DELETE);
        call.arg(key);
        self.run(&call).await
    }

    async fn apply(&self, changes: Vec<Change>, ttl: Option<Duration>) -> Result<(), KeyvalueError> {
        let mut call = self.prepare(&APPLY);
        call.arg(millis(ttl));
        for change in changes {
            match change {
                Change::Set(entry) => call.arg("set").arg(entry.key).arg(entry.value),
                Change::Delete(key) => call.arg("delete").arg(key).arg(""),
            };
        }
        self.run(&call).await
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Result<bool, KeyvalueError> {
        let mut call = self.prepare(&COMPARE_AND_SET);
        call.arg(key).arg(millis(ttl));
        for value in [expected, new] {
            call.arg(u8::from(value.is_some())).arg(value.unwrap_or_default());
        }
        self.run(&call).await
    }

    async fn insert(&self, groups: Vec<Vec<Entry>>, ttl: Option<Duration>) -> Result<u64, KeyvalueError> {
        let mut call = self.prepare(&INSERT);
        call.arg(millis(ttl));
        for group in groups {
            call.arg(group.len());
            for entry in group {
                call.arg(entry.key).arg(entry.value);
            }
        }
        self.run(&call).await
    }

    async fn count(&self, prefix: Vec<u8>) -> Result<u64, KeyvalueError> {
        let scan = Scan::of_keys(prefix);
        let (start, end) = scan.range();
        let mut call = self.prepare(&COUNT);
        call.arg(bound(start, b"-")).arg(bound(end.as_ref().map(Vec::as_slice), b"+"));
        self.run(&call).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, KeyvalueError> {
        let (start, end) = scan.range();
        let end = end.as_ref().map(Vec::as_slice);
        let mut call = self.prepare(&SCAN);
        call.arg(bound(start, b"-")).arg(bound(end, b"+")).arg(scan.limit).arg(scan.max_bytes);
        call.arg(u8::from(scan.reverse)).arg(u8::from(scan.values));
        let answer: Vec<Vec<u8>> = self.run(&call).await?;
        let mut answer = answer.into_iter();
        let more = answer.next().is_some_and(|more| more == b"1");
        let mut entries = Vec::with_capacity(answer.len() / 2);
        while let (Some(key), Some(value)) = (answer.next(), answer.next()) {
            entries.push((key, value));
        }
        Ok(Page { entries, more })
    }
}

/// The bound of a range in Redis syntax.
fn bound(bound: Bound<&[u8]>, unbounded: &[u8]) -> Vec<u8> {
    match bound {
        Bound::Included(key) => [b"[", key].concat(),
        Bound::Excluded(key) => [b"(", key].concat(),
        Bound::Unbounded => unbounded.to_vec(),
    }
}
