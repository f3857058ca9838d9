//! The ranges of all numbers in the configuration.

use std::time::Duration;

use reflow_tracing::storage::range::{CENTURY_DAYS, DAY_MS, Number, TEBIBYTE_MB, YEAR_MS};

use super::settings::Config;

const CENTURY_MS: u64 = CENTURY_DAYS * DAY_MS;

impl Config {
    /// The first number out of its range, with its table.
    pub(super) fn number_out_of_range(&self) -> Option<(String, String)> {
        let fixed = [
            ("server", self.of_server()),
            ("storage", self.of_storage()),
            ("storage.retention", self.of_retention()),
            ("storage.memory", self.storage.memory.numbers()),
            ("storage.sqlite", self.storage.sqlite.numbers()),
            ("storage.postgres", self.storage.postgres.numbers()),
            ("storage.clickhouse", self.storage.clickhouse.numbers()),
            ("plugins", vec![Number::new("max_connections", self.plugins.max_connections, 1..=1_000_000)]),
        ];
        let plugins = self.plugins.named.iter();
        let plugins = plugins.map(|(name, plugin)| (format!("plugins.{name}.limits"), plugin.limits.numbers()));
        fixed
            .into_iter()
            .map(|(table, numbers)| (table.to_owned(), numbers))
            .chain(plugins)
            .find_map(|(table, numbers)| Some((table, reflow_tracing::storage::range::problem(&numbers)?)))
    }

    fn of_server(&self) -> Vec<Number> {
        let most = self.server.max_connections.map_or(1, |most| most.get() as u64);
        vec![
            Number::new("max_connections", most, 1..=10_000_000),
            milliseconds("shutdown_delay", self.server.shutdown_delay, 0, DAY_MS),
        ]
    }

    fn of_storage(&self) -> Vec<Number> {
        let storage = &self.storage;
        let spool = storage.spool.as_ref().map_or(1, |spool| spool.max_size_mb);
        vec![
            milliseconds("call_timeout", storage.call_timeout, 0, YEAR_MS),
            Number::new("retries", storage.retries.unwrap_or(0), 0..=1_000_000),
            milliseconds("health_interval", storage.health_interval, 0, YEAR_MS),
            Number::new("spool.max_size_mb", spool, 1..=TEBIBYTE_MB),
            Number::new("also_queue.max_size_mb", storage.also_queue.max_size_mb, 1..=TEBIBYTE_MB),
        ]
    }

    fn of_retention(&self) -> Vec<Number> {
        let retention = &self.storage.retention;
        let limits =
            [("max_traces", retention.max_traces, u64::MAX), ("max_size_mb", retention.max_size_mb, u64::MAX >> 20)];
        let mut numbers: Vec<_> =
            limits.into_iter().map(|(name, value, most)| Number::new(name, value.unwrap_or(0), 0..=most)).collect();
        numbers.push(milliseconds("max_age", retention.max_age.unwrap_or_default(), 0, CENTURY_MS));
        numbers.push(milliseconds("interval", retention.interval, 0, YEAR_MS));
        numbers
    }
}

/// A duration, as milliseconds.
fn milliseconds(name: &'static str, duration: Duration, least: u64, most: u64) -> Number {
    Number::new(name, duration.as_millis(), least..=most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::open_host_storage;

    /// Every setting that is a number, with its table.
    const NUMBERS: &[(&str, &str)] = &[
        ("server", "port"),
        ("server", "max_connections"),
        ("server", "websocket_buffer_size"),
        ("metrics", "port"),
        ("storage", "retries"),
        ("storage.spool", "max_size_mb"),
        ("storage.also_queue", "max_size_mb"),
        ("storage.retention", "max_traces"),
        ("storage.retention", "max_size_mb"),
        ("storage.memory", "max_traces"),
        ("storage.memory", "max_events_per_trace"),
        ("storage.memory", "max_memory_mb"),
        ("storage.sqlite", "cache_size_mb"),
        ("storage.sqlite", "cache_size"),
        ("storage.sqlite", "busy_timeout_ms"),
        ("storage.sqlite", "max_connections"),
        ("storage.sqlite", "mmap_size_mb"),
        ("storage.postgres", "max_connections"),
        ("storage.postgres", "min_connections"),
        ("storage.postgres", "connection_timeout_ms"),
        ("storage.postgres", "acquire_timeout_secs"),
        ("storage.postgres", "idle_timeout_ms"),
        ("storage.postgres", "max_lifetime_ms"),
        ("storage.postgres", "partition_retention_days"),
        ("storage.clickhouse", "batch_size"),
        ("storage.clickhouse", "flush_interval_ms"),
        ("storage.clickhouse", "max_memory_usage"),
        ("storage.clickhouse", "max_execution_time_ms"),
        ("storage.clickhouse", "retention_days"),
        ("plugins", "max_connections"),
        ("plugins.p.limits", "memory_mb"),
        ("plugins.p.limits", "recycle_mb"),
        ("plugins.p.limits", "call_timeout_ms"),
        ("plugins.p.limits", "cpu_ms"),
        ("plugins.p.limits", "instances"),
        ("plugins.p.limits", "stack_kb"),
        ("plugins.p.limits", "table_elements"),
        ("plugins.p.limits", "handles"),
        ("plugins.p.limits", "result_mb"),
        ("plugins.p.limits", "connections"),
    ];

    /// Every setting that is a duration.
    const DURATIONS: &[(&str, &str)] = &[
        ("server", "shutdown_delay"),
        ("storage", "call_timeout"),
        ("storage", "health_interval"),
        ("storage.retention", "max_age"),
        ("storage.retention", "interval"),
    ];

    const EXTREMES: &[i64] = &[
        i64::MIN,
        -1,
        0,
        1,
        65_536,
        4_000_000_000,
        i32::MAX as i64,
        i32::MAX as i64 + 1,
        u32::MAX as i64,
        u32::MAX as i64 + 1,
        1 << 53,
        i64::MAX / 1_000,
        i64::MAX,
    ];

    /// A setting with this value is refused by name, or a host opens its store with it.
    async fn is_refused_or_works(table: &str, name: &str, value: &str) {
        let folder = tempfile::tempdir().unwrap();
        let (file, store) = (folder.path().join("tracing.toml"), folder.path().join("t.db"));
        // The databases are away. What matters there is that nothing panics.
        let (backend, more) = match table.rsplit('.').next() {
            Some("sqlite") => ("sqlite", format!("database_path = {store:?}\n")),
            Some("postgres") => ("postgres", "connection_url = \"postgresql://u@127.0.0.1:1/d\"\n".into()),
            Some("clickhouse") => ("clickhouse", "url = \"http://127.0.0.1:1\"\n".into()),
            Some("spool" | "also_queue") => ("memory", format!("dir = {:?}\n", folder.path().join("spool"))),
            _ => ("memory", String::new()),
        };
        let header = if table == "storage" { String::new() } else { format!("[{table}]\n") };
        let text = format!("[storage]\nbackend = {backend:?}\n{header}{more}{name} = {value}\n");
        std::fs::write(&file, text).unwrap();
        let refused = match Config::load_with(Some(&file), []) {
            Err(error) => Some(error.to_string()),
            // A backend of this process has no spool.
            Ok(_) if table == "storage.spool" => None,
            Ok(loaded) => {
                loaded.config.storage.retention.policy();
                match tokio::time::timeout(Duration::from_secs(2), open_host_storage(&loaded.config)).await {
                    Ok(Ok(opened)) => {
                        opened.backend.close().await.unwrap();
                        None
                    }
                    Ok(Err(error)) if matches!(backend, "memory" | "sqlite") => Some(error.to_string()),
                    _ => None,
                }
            }
        };
        // Reflow's names become ours.
        let ours = match name {
            "cache_size" => "cache_size_mb",
            "acquire_timeout_secs" => "connection_timeout_ms",
            name => name,
        };
        if let Some(refused) = refused {
            assert!(refused.contains(name) || refused.contains(ours), "{table}.{name} = {value}: {refused}");
        }
    }

    #[tokio::test]
    async fn every_number_has_a_range_beyond_which_it_is_refused() {
        for (table, name) in NUMBERS {
            for value in EXTREMES {
                is_refused_or_works(table, name, &value.to_string()).await;
            }
            for value in ["1e300", "inf", "-inf", "nan"] {
                is_refused_or_works(table, name, value).await;
            }
        }
        for (table, name) in DURATIONS {
            for value in ["0s", "1ns", "584000000000y", "18446744073709551615s", "36501d"] {
                is_refused_or_works(table, name, &format!("{value:?}")).await;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_number_is_refused_or_works(index in 0..NUMBERS.len(), value in any::<i64>(), shift in 0..64_u32) {
            let (table, name) = NUMBERS[index];
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(is_refused_or_works(table, name, &(value >> shift).to_string()));
        }
    }
}
