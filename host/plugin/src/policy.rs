//! A plugin's configuration: its file, its grants and its resource limits.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::range::{self, Number};

use crate::plain_json;

/// The configuration of a plugin: the table `[plugins.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginConfig {
    /// The component. By default `NAME.wasm` in the plugins folder.
    pub file: Option<PathBuf>,
    /// What the plugin may reach.
    pub grants: Grants,
    /// The plugin's own settings. `open` gets them as a JSON object. Dates and times of TOML are texts there.
    #[serde(deserialize_with = "plain_json::deserialize")]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Resource limits.
    pub limits: Limits,
    /// The SHA-256 that the file must have, in hexadecimal.
    pub sha256: Option<String>,
}

/// What a plugin may reach, by capability and label. It reaches nothing else.
///
/// `Debug` shows only labels, because URLs may contain passwords.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// SQL databases: label to URL. `sqlite:PATH` is a SQLite file; the host creates it and its folder when missing.
    /// `postgresql://USER:PASSWORD@HOST/DATABASE` and `mysql://..` (or `mariadb://..`) are servers. There the plugin has the
    /// rights of the user in the URL.
    pub sql: BTreeMap<String, String>,
    /// Redis servers, by label.
    pub redis: BTreeMap<String, RedisGrant>,
    /// Key-value buckets: label to URL. `file:PATH` is a file; the host creates it and its folder when missing. `memory:`
    /// lasts as long as the plugin is open, with at most 64 MiB (`memory:?max_mb=256`). `redis://..` is a Redis server; the
    /// keys there begin with `keyvalue:` (`redis://..?prefix=mine:`). `rediss://..?ca=FILE` accepts only certificates from
    /// the authorities in the file.
    pub keyvalue: BTreeMap<String, String>,
    /// Origins that HTTP requests may go to.
    pub http: Vec<HttpGrant>,
    /// Secrets: label to source. `env:NAME` is an environment variable of the host, `file:PATH` the contents of a file.
    pub secrets: BTreeMap<String, String>,
}

impl Grants {
    /// The labels of the grants of `capability`; of `http`, the origins.
    pub fn labels(&self, capability: &str) -> Vec<&str> {
        match capability {
            "sql" => self.sql.keys().map(String::as_str).collect(),
            "redis" => self.redis.keys().map(String::as_str).collect(),
            "keyvalue" => self.keyvalue.keys().map(String::as_str).collect(),
            // A user or a password makes no valid grant, but must not be shown.
            "http" => self.http.iter().map(|grant| grant.origin.rsplit('@').next().unwrap_or_default()).collect(),
            "secrets" => self.secrets.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether `capability` has at least one grant.
    pub(crate) fn has(&self, capability: &str) -> bool {
        !self.labels(capability).is_empty()
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("sql", &self.sql.keys())
            .field("redis", &self.redis.keys())
            .field("keyvalue", &self.keyvalue.keys())
            .field("http", &self.http)
            .field("secrets", &self.secrets.keys())
            .finish()
    }
}

/// A granted Redis server: a URL or a table in the configuration.
///
/// `Debug` omits the URL, because it may contain a password.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RedisGrantForm")]
pub struct RedisGrant {
    /// `redis://`, `rediss://` or `redis+unix://`.
    pub url: String,
    /// The prefix of all the plugin's keys. The plugin does not see it.
    pub prefix: String,
    /// Whether the plugin may run scripts. A script can reach keys without the prefix.
    pub scripts: bool,
    /// A PEM file of certificate authorities. A `rediss://` server needs a certificate from one of them. Default: the
    /// authorities that browsers trust.
    pub ca: Option<PathBuf>,
}

impl fmt::Debug for RedisGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisGrant")
            .field("prefix", &self.prefix)
            .field("scripts", &self.scripts)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "a URL, or a table of `url`, `prefix`, `scripts` and `ca`")]
enum RedisGrantForm {
    Url(String),
    #[serde(rename_all = "snake_case")]
    Table {
        url: String,
        #[serde(default)]
        prefix: String,
        #[serde(default)]
        scripts: bool,
        #[serde(default)]
        ca: Option<PathBuf>,
    },
}

impl From<RedisGrantForm> for RedisGrant {
    fn from(form: RedisGrantForm) -> Self {
        match form {
            RedisGrantForm::Url(url) => Self { url, ..Self::default() },
            RedisGrantForm::Table { url, prefix, scripts, ca } => Self { url, prefix, scripts, ca },
        }
    }
}

/// An origin that HTTP requests may go to: a string or a table in the configuration.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "HttpGrantForm")]
pub struct HttpGrant {
    /// Scheme, host and port, for example `https://api.example.com`, `http://localhost:8123`, or `https://*.example.com` for
    /// every name below example.com.
    pub origin: String,
    /// A PEM file of certificate authorities. The server needs a certificate from one of them. Default: the authorities that
    /// browsers trust.
    pub ca: Option<PathBuf>,
    /// Headers that the host sets in each request, in place of the plugin's own. `{env:NAME}` and `{file:PATH}` in a value are
    /// secrets, which the plugin does not see: `{ authorization = "Bearer {env:TOKEN}" }`.
    pub headers: BTreeMap<String, String>,
    /// Whether the host may be on this machine or in a private network. An origin with an IP address, or `localhost`, needs no
    /// such grant.
    pub private: bool,
}

impl std::fmt::Debug for HttpGrant {
    /// Without the values of headers, which may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<_> = self.headers.keys().collect();
        f.debug_struct("HttpGrant")
            .field("origin", &self.origin)
            .field("ca", &self.ca)
            .field("headers", &headers)
            .field("private", &self.private)
            .finish()
    }
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "an origin, or a table of `origin`, `ca`, `headers` and `private`")]
enum HttpGrantForm {
    Origin(String),
    Table {
        origin: String,
        #[serde(default)]
        ca: Option<PathBuf>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        private: bool,
    },
}

impl From<HttpGrantForm> for HttpGrant {
    fn from(form: HttpGrantForm) -> Self {
        match form {
            HttpGrantForm::Origin(origin) => Self { origin, ..Self::default() },
            HttpGrantForm::Table { origin, ca, headers, private } => Self { origin, ca, headers, private },
        }
    }
}

impl From<&str> for HttpGrant {
    fn from(origin: &str) -> Self {
        Self { origin: origin.into(), ..Self::default() }
    }
}

/// The scheme of a URL for a message. Text before a `:` that is not a scheme may be a password.
pub(crate) fn shown_scheme(scheme: &str) -> &str {
    let is_scheme =
        scheme.len() <= 16 && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    if is_scheme { scheme } else { ".." }
}

/// Supported stack sizes: the minimum lets a language runtime start, the maximum can be allocated for every call.
const STACK_KB: RangeInclusive<u64> = 64..=64 * 1024;
/// Table elements for which an engine reserves address space. Only elements in use take memory.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 2_000_000;
/// Instance slots of an engine.
pub(crate) const INSTANCE_SLOTS: u32 = 1_000;
/// Below the maximum of a semaphore.
const MAX_CONNECTIONS: u64 = 100_000;
/// Half the slots: during a reload, the old and the new version both have instances.
const MAX_INSTANCES: u64 = INSTANCE_SLOTS as u64 / 2;

/// Resource limits of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of an instance, in MiB.
    pub memory_mb: u32,
    /// Memory in MiB above which an instance is replaced after its call.
    pub recycle_mb: u32,
    /// Maximum duration of a call, including waiting, in milliseconds.
    pub call_timeout_ms: u64,
    /// Maximum processor time of a call, in milliseconds, with a resolution of 10 ms. Waiting for a database or a server
    /// does not count.
    pub cpu_ms: u64,
    /// Maximum concurrent instances.
    pub instances: usize,
    /// Stack size of a call, in KiB.
    pub stack_kb: u32,
    /// Maximum elements of an instance's function tables. Language runtimes compiled to WebAssembly need tens of thousands.
    pub table_elements: usize,
    /// Maximum open handles of an instance: batches, connections, transactions, cursors.
    pub handles: usize,
    /// Maximum data in MiB that the host holds for an instance, or that crosses the sandbox boundary in one call: events,
    /// rows, replies, HTTP bodies.
    pub result_mb: u32,
    /// Maximum open connections of all instances to databases and servers.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mb: 128,
            recycle_mb: 64,
            call_timeout_ms: 5_000,
            cpu_ms: 5_000,
            instances: 4,
            stack_kb: 1_024,
            table_elements: 200_000,
            handles: 1_000,
            result_mb: 64,
            connections: 16,
        }
    }
}

impl Limits {
    /// The limits with their ranges: what allows something, and what the host can enforce.
    pub fn numbers(&self) -> Vec<Number> {
        /// The address space of 32-bit memory is smaller.
        const MOST_MB: u64 = 65_536;
        vec![
            Number::new("memory_mb", self.memory_mb, 1..=MOST_MB),
            Number::new("recycle_mb", self.recycle_mb, 0..=MOST_MB),
            Number::new("call_timeout_ms", self.call_timeout_ms, 1..=range::DAY_MS),
            Number::new("cpu_ms", self.cpu_ms, 1..=range::DAY_MS),
            Number::new("instances", self.instances, 1..=MAX_INSTANCES),
            Number::new("stack_kb", self.stack_kb, STACK_KB),
            Number::new("table_elements", self.table_elements, 1..=MAX_TABLE_ELEMENTS as u64),
            Number::new("handles", self.handles, 1..=1_000_000),
            Number::new("result_mb", self.result_mb, 1..=MOST_MB),
            Number::new("connections", self.connections, 1..=MAX_CONNECTIONS),
        ]
    }

    /// Fails on a limit out of its range.
    pub(crate) fn check(&self, plugin: &str) -> Result<(), StorageError> {
        for number in self.numbers() {
            if let Some(problem) = number.problem() {
                return Err(StorageError::Configuration(format!("plugins.{plugin}.limits.{}: {problem}", number.name)));
            }
        }
        Ok(())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        usize::try_from(self.memory_mb).unwrap_or(usize::MAX).saturating_mul(1024 * 1024)
    }

    pub(crate) fn recycle_bytes(&self) -> usize {
        usize::try_from(self.recycle_mb).unwrap_or(usize::MAX).saturating_mul(1024 * 1024)
    }

    pub(crate) fn result_bytes(&self) -> usize {
        usize::try_from(self.result_mb).unwrap_or(usize::MAX).saturating_mul(1024 * 1024)
    }

    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_millis(self.cpu_ms)
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }
}
