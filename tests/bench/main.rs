//! Measures each path of a store beside its floor: the least work that any program needs for the same result.
//!
//! A floor is measured in the same run, alternating with its path, so that the ratio is meaningful even on a busy
//! machine. The rates alone are not. Nothing here fails because it is slow.
//!
//! `cargo xtask bench [FILTER] [--quick]` builds what this needs, and runs it.

mod bare_clickhouse;
mod bare_postgres;
mod bare_sqlite;
mod clickhouse;
mod ingest;
mod measure;
mod memory;
mod metrics;
#[cfg(target_os = "linux")]
mod migration;
mod paths;
mod plugin;
#[cfg(target_os = "linux")]
mod plugin_languages;
mod plugin_start;
mod postgres;
mod redis;
mod report;
mod sqlite;
mod workload;

use anyhow::{Result, bail, ensure};

use report::Report;

/// The size of the measurements.
struct Sizes {
    /// Rounds that count.
    rounds: usize,
    /// Events that a round stores.
    events: usize,
    /// Events in the store for reads.
    stored_events: usize,
    /// The number of the deep page.
    deep_page: usize,
    /// Reads or calls that a round times together.
    reads: usize,
    /// Calls into a plugin that a round times together.
    calls: usize,
}

const FULL: Sizes =
    Sizes { rounds: 7, events: 30_000, stored_events: 1_000_000, deep_page: 500, reads: 200, calls: 100_000 };

/// For trying out a change of these programs; the figures are meaningless.
const QUICK: Sizes = Sizes { rounds: 3, events: 5_000, stored_events: 20_000, deep_page: 5, reads: 50, calls: 5_000 };

/// The events of a batch.
const BATCH: usize = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let (mut sizes, mut filter) = (FULL, None);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => {
                println!("Quick mode: far less data than the names say. Do not use these figures.\n");
                sizes = QUICK;
            }
            // Cargo passes this to every benchmark.
            "--bench" => {}
            option if option.starts_with('-') => bail!("unknown option `{option}`; the only option is --quick"),
            _ => {
                let earlier = filter.replace(argument);
                ensure!(earlier.is_none(), "only one FILTER is allowed: a part of the names of the paths to measure");
            }
        }
    }
    let mut report = Report::new(filter);
    sqlite::measure(&sizes, &mut report).await?;
    postgres::measure(&sizes, &mut report).await?;
    clickhouse::measure(&sizes, &mut report).await?;
    memory::measure(&sizes, &mut report).await?;
    metrics::measure(&sizes, &mut report).await?;
    plugin::measure(&sizes, &mut report).await?;
    plugin_start::measure(&sizes, &mut report).await?;
    #[cfg(target_os = "linux")]
    plugin_languages::measure(&sizes, &mut report).await?;
    redis::measure(&sizes, &mut report).await?;
    ingest::measure(&sizes, &mut report).await?;
    #[cfg(target_os = "linux")]
    migration::measure(&sizes, &mut report).await?;
    report.end()
}
