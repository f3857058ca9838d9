use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{Client, TlsCertificates};
use reflow_tracing_storage::StorageError;

use super::file::File;
use super::memory::Memory;
use super::redis::Redis;
use super::store::Store;
use super::{Bucket, KeyvalueError};
use crate::capabilities::log::PluginLog;
use crate::capabilities::{ConnectionBudget, tls};
use crate::policy::PluginConfig;

/// What a bucket in memory may take, in MiB, unless its grant says otherwise.
const MEMORY_MB: usize = 64;
/// What the keys of a bucket on a Redis server begin with, unless its grant says otherwise.
const PREFIX: &str = "keyvalue:";

/// The buckets of a plugin, by label. All of its instances share them.
pub(crate) struct Buckets {
    by_label: BTreeMap<String, Bucket>,
}

impl Buckets {
    /// What `plugin` was granted. Opens nothing yet.
    pub(crate) fn new(
        plugin: &str,
        config: &PluginConfig,
        connections: &ConnectionBudget,
        log: &Arc<PluginLog>,
    ) -> Result<Self, StorageError> {
        let bucket = |(label, url): (&String, &String)| {
            let report = Report { label: label.clone(), log: Arc::clone(log) };
            match store(url, config, connections, report) {
                Ok(store) => Ok((label.clone(), Bucket::new(store, config.limits.result_bytes()))),
                // Without the URL, which may have a password in it.
                Err(problem) => Err(StorageError::Configuration(format!(
                    "plugins.{plugin}.grants.keyvalue.{label}: {problem}; write file:PATH, memory: or redis://HOST:PORT/DB"
                ))),
            }
        };
        Ok(Self { by_label: config.grants.keyvalue.iter().map(bucket).collect::<Result<_, _>>()? })
    }

    /// Those that are files of the host's.
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
    report: Report,
) -> Result<Arc<dyn Store>, String> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err("it names no kind of bucket".into());
    };
    match scheme {
        "memory" => Ok(Arc::new(Memory::new(max_mb(rest)?.saturating_mul(1024 * 1024)))),
        "file" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.starts_with(':') {
                return Err("it names no file".into());
            }
            Ok(Arc::new(File::new(path, connections, report)))
        }
        "redis" | "rediss" | "redis+unix" => {
            let (client, prefix) = redis_client(url)?;
            Ok(Arc::new(Redis::new(client, &prefix, connections, config.limits.call_timeout(), report)))
        }
        other => Err(format!("`{other}:` is no kind of bucket")),
    }
}

/// The size of a bucket in memory, from what follows `memory:`.
fn max_mb(options: &str) -> Result<usize, String> {
    if options.is_empty() {
        return Ok(MEMORY_MB);
    }
    let max_mb = options.strip_prefix("?max_mb=").and_then(|number| number.parse().ok()).filter(|&max_mb| max_mb > 0);
    max_mb.ok_or_else(|| format!("`memory:` may be followed by ?max_mb=NUMBER, but not by `{options}`"))
}

/// What connects to the server, and the prefix of the keys. That and `ca` are options of ours.
fn redis_client(url: &str) -> Result<(Client, String), String> {
    let mut url = redis::parse_redis_url(url).ok_or("it is no URL of a Redis server")?;
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
    let no_url = |error: redis::RedisError| format!("it is no URL of a Redis server ({})", error.category());
    let Some(ca) = ca else { return Ok((Client::open(url).map_err(no_url)?, prefix)) };
    if url.scheme() != "rediss" {
        return Err("`ca` is of no use without TLS: write rediss://..".into());
    }
    // Read by the client; looked at here, for what is wrong with it.
    tls::connector(Some(&ca))?;
    let root_cert = std::fs::read(&ca).map_err(|error| format!("`ca` is {}: {error}", ca.display()))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
    Ok((Client::build_with_tls(url, certificates).map_err(no_url)?, prefix))
}

/// Tells the operator what the plugin is not to see: addresses and paths.
pub(super) struct Report {
    pub label: String,
    pub log: Arc<PluginLog>,
}

impl Report {
    /// Writes `error` to the host's log, and hands on what the plugin may see.
    pub(super) fn failed(&self, error: &dyn Display, seen: KeyvalueError) -> KeyvalueError {
        self.log.warn(&format!("the keyvalue bucket `{}`: {error}", self.label));
        seen
    }

    /// No connection came free.
    pub(super) fn too_many(&self) -> KeyvalueError {
        KeyvalueError::Unavailable(format!(
            "too many connections are in use; plugins.{}.limits.connections allows for more",
            self.log.plugin()
        ))
    }
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
    fn what_is_no_bucket_is_refused_without_its_password() {
        for url in ["", "cache", "file:", "file::memory:", "memory:?max_mb=0", "memory:x", "oracle:x"] {
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
