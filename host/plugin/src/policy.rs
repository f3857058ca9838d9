//! What the operator says of a plugin: where it is, what it may reach, how much it may use.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use reflow_tracing_storage::StorageError;

/// A plugin as the configuration describes it: the table `[plugins.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginConfig {
    /// The component. By default `NAME.wasm` in the plugins folder.
    pub file: Option<PathBuf>,
    /// What it may reach.
    pub grants: Grants,
    /// What it is given when it is opened, as JSON.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// How much it may use.
    pub limits: Limits,
    /// The SHA-256 that the file must have, in hexadecimal.
    pub sha256: Option<String>,
}

/// What a plugin may reach, by capability and label. It may reach nothing else.
///
/// `Debug` shows the labels alone: URLs have passwords in them.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// SQL databases: label to URL. `sqlite:PATH` is a SQLite file, which is created with its folder when it is missing;
    /// `postgresql://USER:PASSWORD@HOST/DATABASE` and `mysql://..` (or `mariadb://..`) are databases in which the plugin can
    /// do what that user can.
    pub sql: BTreeMap<String, String>,
    /// Redis servers, by label.
    pub redis: BTreeMap<String, RedisGrant>,
    /// Buckets of keys and values: label to URL. `file:PATH` is a file, which is created with its folder when it is missing,
    /// `memory:` lasts as long as the plugin is open and takes 64 MiB at most (`memory:?max_mb=256`), `redis://..` is a
    /// Redis server, on which its keys begin with `keyvalue:` (`redis://..?prefix=mine:`); of `rediss://..?ca=FILE` only
    /// certificates of the authorities in the file are accepted.
    pub keyvalue: BTreeMap<String, String>,
    /// Origins that HTTP requests may go to.
    pub http: Vec<HttpGrant>,
    /// Secrets: label to source. `env:NAME` is a variable of the host's environment, `file:PATH` the content of a file.
    pub secrets: BTreeMap<String, String>,
}

impl Grants {
    /// Whether anything of `capability` is granted.
    pub(crate) fn has(&self, capability: &str) -> bool {
        match capability {
            "sql" => !self.sql.is_empty(),
            "redis" => !self.redis.is_empty(),
            "keyvalue" => !self.keyvalue.is_empty(),
            "http" => !self.http.is_empty(),
            "secrets" => !self.secrets.is_empty(),
            _ => false,
        }
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

/// A Redis server that is granted: in the configuration a URL, or a table.
///
/// `Debug` leaves the URL out: it may have a password in it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RedisGrantForm")]
pub struct RedisGrant {
    /// `redis://`, `rediss://` or `redis+unix://`.
    pub url: String,
    /// What every key of the plugin begins with, unseen by it.
    pub prefix: String,
    /// Whether it may run scripts, which may reach keys without the prefix.
    pub scripts: bool,
    /// Certificate authorities, in PEM: of a `rediss://` server only certificates of theirs are accepted. Otherwise those of
    /// the authorities that browsers trust.
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

/// An origin that HTTP requests may go to: in the configuration a text, or a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "HttpGrantForm")]
pub struct HttpGrant {
    /// Scheme, host and port, for example `https://api.example.com`, `http://localhost:8123`, or `https://*.example.com` for
    /// every name below example.com.
    pub origin: String,
    /// Certificate authorities, in PEM: only certificates of theirs are accepted. Otherwise those of the authorities that
    /// browsers trust.
    pub ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "an origin, or a table of `origin` and `ca`")]
enum HttpGrantForm {
    Origin(String),
    Table {
        origin: String,
        #[serde(default)]
        ca: Option<PathBuf>,
    },
}

impl From<HttpGrantForm> for HttpGrant {
    fn from(form: HttpGrantForm) -> Self {
        match form {
            HttpGrantForm::Origin(origin) => Self { origin, ca: None },
            HttpGrantForm::Table { origin, ca } => Self { origin, ca },
        }
    }
}

impl From<&str> for HttpGrant {
    fn from(origin: &str) -> Self {
        Self { origin: origin.into(), ca: None }
    }
}

/// Stacks that an engine can be made with: enough for a language runtime to start, little enough to be there for every call.
const STACK_KB: RangeInclusive<u32> = 64..=64 * 1024;
/// Entries of tables that an engine has places for; only those in use take memory.
pub(crate) const MOST_TABLE_ELEMENTS: usize = 2_000_000;
/// Instances that an engine has places for.
pub(crate) const PLACES: u32 = 1_000;
/// More than any machine has use for, and less than a semaphore can count.
const MOST_CONNECTIONS: usize = 100_000;
/// The instances of a plugin and of the version that takes over from it have to find places.
const MOST_INSTANCES: usize = PLACES as usize / 2;

/// How much a plugin may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of an instance, in MiB.
    pub memory_mb: u32,
    /// An instance whose memory has grown beyond this is ended after its call and replaced when it is needed, in MiB.
    pub recycle_mb: u32,
    /// The time that a call may take, waiting included, in milliseconds.
    pub call_timeout_ms: u64,
    /// The time that a call may keep a processor busy, in milliseconds, to 10 ms. Waiting for a database or a server does not
    /// count.
    pub cpu_ms: u64,
    /// Instances that work at the same time.
    pub instances: usize,
    /// The stack of an instance's calls, in KiB.
    pub stack_kb: u32,
    /// Entries of an instance's tables of functions. Language runtimes compiled to WebAssembly need tens of thousands.
    pub table_elements: usize,
    /// Batches, connections, transactions, cursors and their like that an instance may hold at a time.
    pub handles: usize,
    /// What an instance may have the host keep for it, hand over or be given at once: events, rows, replies, bodies of HTTP;
    /// in MiB.
    pub result_mb: u32,
    /// Connections to databases and servers that all instances may have open at a time.
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
    /// Fails on a limit that lets nothing happen, and on one beyond what the host can keep.
    pub(crate) fn check(&self, plugin: &str) -> Result<(), StorageError> {
        let refuse = |name: &str, problem: String| {
            Err(StorageError::Configuration(format!("plugins.{plugin}.limits.{name}: {problem}")))
        };
        let at_least_one = [
            ("memory_mb", u64::from(self.memory_mb)),
            ("call_timeout_ms", self.call_timeout_ms),
            ("cpu_ms", self.cpu_ms),
            ("instances", self.instances as u64),
            ("table_elements", self.table_elements as u64),
            ("handles", self.handles as u64),
            ("result_mb", u64::from(self.result_mb)),
            ("connections", self.connections as u64),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, limit)| *limit == 0) {
            return refuse(name, "it must be at least 1".into());
        }
        if !STACK_KB.contains(&self.stack_kb) {
            let problem = format!("it must be between {} and {}", STACK_KB.start(), STACK_KB.end());
            return refuse("stack_kb", problem);
        }
        let at_most = [
            ("instances", self.instances, MOST_INSTANCES),
            ("connections", self.connections, MOST_CONNECTIONS),
            ("table_elements", self.table_elements, MOST_TABLE_ELEMENTS),
        ];
        for (name, count, most) in at_most {
            if count > most {
                return refuse(name, format!("it can be {most} at most"));
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
