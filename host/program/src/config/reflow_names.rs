//! Reflow's names for settings, as in its own configuration files: read where they mean something here, and accepted with a
//! warning where they don't.

use reflow_tracing::storage::JournalMode;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::de::{DeTable, DeValue, Error};

use super::settings::Config;

/// The settings whose values are names. They are valid in any case.
const NAMES: &[(&str, &[&str])] = &[
    ("memory", &["eviction_policy"]),
    ("sqlite", &["journal_mode", "synchronous", "temp_store"]),
    ("postgres", &["partition_interval"]),
    ("clickhouse", &["compression"]),
];

/// What Reflow's own names say. They are removed from the document.
#[derive(Debug, Default)]
pub(super) struct ReflowNames {
    journal_mode: Option<JournalMode>,
    cache_size_mb: Option<u32>,
    connection_timeout_ms: Option<u64>,
    warnings: Vec<String>,
}

impl ReflowNames {
    /// Takes them out of a document.
    pub(super) fn take(document: &mut DeTable<'_>) -> Result<Self, Error> {
        let mut taken = Self::default();
        let Some(storage) = table(document, "storage") else { return Ok(taken) };
        for (name, settings) in NAMES {
            let Some(table) = table(storage, name) else { continue };
            for setting in *settings {
                if let Some(DeValue::String(value)) = table.get_mut(*setting).map(|value| value.get_mut()) {
                    value.to_mut().make_ascii_lowercase();
                }
            }
        }
        if let Some(name) = storage.get("backend").and_then(|backend| backend.get_ref().as_str()) {
            taken.warnings.extend(warning_for_backend(name));
        }
        if storage.remove("mongodb").is_some() {
            taken.warnings.push("`[storage.mongodb]` has no effect: MongoDB is not supported".into());
        }
        if let Some(sqlite) = table(storage, "sqlite") {
            taken.take_from_sqlite(sqlite)?;
        }
        if let Some(postgres) = table(storage, "postgres")
            && let Some(seconds) = value::<u64>(postgres, "acquire_timeout_secs")?
            && !postgres.contains_key("connection_timeout_ms")
        {
            taken.connection_timeout_ms = Some(seconds.saturating_mul(1_000));
        }
        Ok(taken)
    }

    fn take_from_sqlite(&mut self, sqlite: &mut DeTable<'_>) -> Result<(), Error> {
        if let Some(wal_mode) = value::<bool>(sqlite, "wal_mode")?
            && !sqlite.contains_key("journal_mode")
        {
            self.journal_mode = Some(if wal_mode { JournalMode::WAL } else { JournalMode::Delete });
        }
        if let Some(size) = value::<i64>(sqlite, "cache_size")?
            && !sqlite.contains_key("cache_size_mb")
        {
            // As in SQLite: pages of 4 KiB, or KiB if it is negative.
            let kib = if size < 0 { size.unsigned_abs() } else { size.unsigned_abs().saturating_mul(4) };
            self.cache_size_mb = Some(u32::try_from(kib.div_ceil(1024)).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// Puts what they say into the configuration. Returns the warnings.
    pub(super) fn apply(self, config: &mut Config) -> Vec<String> {
        let Self { journal_mode, cache_size_mb, connection_timeout_ms, mut warnings } = self;
        let sqlite = &mut config.storage.sqlite;
        sqlite.journal_mode = journal_mode.unwrap_or(sqlite.journal_mode);
        sqlite.cache_size_mb = cache_size_mb.unwrap_or(sqlite.cache_size_mb);
        let postgres = &mut config.storage.postgres;
        postgres.connection_timeout_ms = connection_timeout_ms.unwrap_or(postgres.connection_timeout_ms);
        if config.server.websocket_buffer_size.is_some() {
            let warning = "`websocket_buffer_size` in `[server]` has no effect: buffers grow with what they hold, up to the \
                           limits in docs/http.md";
            warnings.push(warning.into());
        }
        if config.compression.is_some() {
            let warning = "`[compression]` has no effect: messages compressed with zstd, gzip, lz4 or brotli are always \
                           accepted, and answers are text";
            warnings.push(warning.into());
        }
        if config.otlp.as_ref().is_some_and(|otlp| otlp.enabled) {
            warnings.push("`[otlp]` has no effect: traces are not exported while they arrive".into());
        }
        warnings
    }
}

/// What to know about a backend of Reflow's that is another one here.
pub(super) fn warning_for_backend(name: &str) -> Option<String> {
    name.eq_ignore_ascii_case("timescale").then(|| {
        "the backend `timescale` is `postgres` here, without hypertables: `enable_partitioning = true` in \
         `[storage.postgres]` partitions events by time"
            .into()
    })
}

fn table<'a, 'i>(parent: &'a mut DeTable<'i>, name: &str) -> Option<&'a mut DeTable<'i>> {
    match parent.get_mut(name)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Takes a value out of a table.
fn value<'i, T: Deserialize<'i>>(table: &mut DeTable<'i>, name: &str) -> Result<Option<T>, Error> {
    table.remove(name).map(|value| T::deserialize(value.into_deserializer())).transpose()
}
