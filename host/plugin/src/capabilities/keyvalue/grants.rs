//! The buckets that the operator granted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{Client, TlsCertificates};
use reflow_tracing_storage::StorageError;

use super::bucket::Bucket;
use super::error_reporter::ErrorReporter;
use super::file::File;
use super::memory::Memory;
use super::redis::Redis;
use super::store::Store;
use crate::capabilities::connections::ConnectionBudget;
use crate::capabilities::log::PluginLog;
use crate::capabilities::tls;
use crate::policy::{PluginConfig, shown_scheme};

/// Default size limit of a bucket in memory, in MiB.
const MEMORY_MB: usize = 64;
/// Default prefix of the keys of a bucket on a Redis server.
const PREFIX: &str = "keyvalue:";

/// The buckets of a plugin, by label. All of its instances share them.
pub(crate) struct Buckets {
    by_label: BTreeMap<String, Bucket>,
}

impl Buckets {
    /// The buckets granted to `plugin`. Does not open them yet.
    pub(crate) fn new(
        plugin: &str,
        config: &PluginConfig,
        connections: &ConnectionBudget,
        log: &Arc<PluginLog>,
    ) -> Result<Self, StorageError> {
        let bucket = |(label, url): (&String, &String)| {
            let reporter = ErrorReporter { label: label.clone(), log: Arc::clone(log) };
            match store(url, config, connections, reporter) {
                Ok(store) => Ok((label.clone(), Bucket::new(store, config.limits.result_bytes()))),
                // The message omits the URL, which may contain a password.
                Err(problem) => Err(StorageError::Configuration(format!(
                    "plugins.{plugin}.grants.keyvalue.{label}: {problem}; write file:PATH, memory: or redis://HOST:PORT/DB"
                ))),
            }
        };
        Ok(Self { by_label: config.grants.keyvalue.iter().map(bucket).collect::<Result<_, _>>()? })
    }

    /// The paths of the buckets that are files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.by_label.values().filter_map(|bucket| bucket.store.file())
    }

    pub(super) fn get(&self, label: &str) -> Option<Bucket> {
        self.by_label.get(label).cloned()
    }
}

fn store(
    url: &str,
    config: &PluginConfig,
    connections: &ConnectionBudget,
    reporter: ErrorReporter,
) -> Result<Arc<dyn Store>, String> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err("the kind of bucket is missing".into());
    };
    match scheme {
        "memory" => Ok(Arc::new(Memory::new(max_mb(rest)?.saturating_mul(1024 * 1024)))),
        "file" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.starts_with(':') {
                return Err("the path of the file is missing".into());
            }
            Ok(Arc::new(File::new(path, connections, reporter)))
        }
        "redis" | "rediss" | "redis+unix" => {
            let (client, prefix) = redis_client(url)?;
            Ok(Arc::new(Redis::new(client, &prefix, connections, config.limits.call_timeout(), reporter)))
        }
        other => Err(format!("`{}:` is not a kind of bucket", shown_scheme(other))),
    }
}

/// A tebibyte.
const MOST_MB: usize = 1 << 20;

/// The size of a bucket in memory, from what follows `memory:`.
fn max_mb(options: &str) -> Result<usize, String> {
    if options.is_empty() {
        return Ok(MEMORY_MB);
    }
    let max_mb = options
        .strip_prefix("?max_mb=")
        .and_then(|number| number.parse().ok())
        .filter(|max_mb| (1..=MOST_MB).contains(max_mb));
    max_mb.ok_or_else(|| {
        format!("`{options}` is not an option of `memory:`, which takes ?max_mb=NUMBER, at most {MOST_MB}")
    })
}

/// The client, and the prefix of the keys. `prefix` and `ca` are options of this host, not of the Redis client.
fn redis_client(url: &str) -> Result<(Client, String), String> {
    let mut url = redis::parse_redis_url(url).ok_or("it is not a valid URL of a Redis server")?;
    let (mut prefix, mut ca) = (PREFIX.to_owned(), None);
    let mut others = Vec::new();
    for (name, value) in url.query_pairs() {
        match &*name {
            "prefix" => prefix = value.into_owned(),
            "ca" => ca = Some(PathBuf::from(&*value)),
            _ => others.push((name.into_owned(), value.into_owned())),
        }
    }
    url.set_query(None);
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
    let invalid = |error: redis::RedisError| format!("it is not a valid URL of a Redis server ({})", error.category());
    let Some(ca) = ca else { return Ok((Client::open(url).map_err(invalid)?, prefix)) };
    if url.scheme() != "rediss" {
        return Err("`ca` needs TLS: write rediss://..".into());
    }
    // The client reads the file itself, but its errors don't name the problem.
    tls::connector(Some(&ca))?;
    let root_cert = std::fs::read(&ca).map_err(|error| format!("`ca` is {}: {error}", ca.display()))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
    Ok((Client::build_with_tls(url, certificates).map_err(invalid)?, prefix))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn refusal(url: &str) -> String {
        let mut config = PluginConfig::default();
        config.grants.keyvalue.insert("cache".into(), url.into());
        let connections = ConnectionBudget::new(1, &Arc::new(Semaphore::new(1)));
        match Buckets::new("p", &config, &connections, &Arc::new(PluginLog::new("p"))) {
            Ok(_) => panic!("{url} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_invalid_url_is_refused_without_showing_its_password() {
        for url in [
            "",
            "cache",
            "file:",
            "file::memory:",
            "memory:?max_mb=0",
            "memory:?max_mb=18446744073709551615",
            "memory:x",
            "oracle:x",
        ] {
            let message = refusal(url);
            assert!(message.contains("plugins.p.grants.keyvalue.cache"), "{message}");
        }
        for url in ["redis://user:hunter2@", "postgres://user:hunter2@host/db", "redis://user:hunter2@host:port/x"] {
            assert!(!refusal(url).contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn the_prefix_is_taken_out_of_the_url() {
        let (client, prefix) = redis_client("redis://127.0.0.1:6379/3?prefix=a%3Ab%3A").expect("a URL");
        assert_eq!(prefix, "a:b:");
        assert_eq!(client.get_connection_info().redis_settings().db(), 3);
        let (_, prefix) = redis_client("redis+unix:///tmp/a.sock").expect("a URL");
        assert_eq!(prefix, PREFIX);
    }
}
