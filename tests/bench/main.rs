//! Measures each path of a store beside its floor: the least that any program would have to do for the same outcome.
//!
//! A floor is measured in the same run, in turns with its path, so that a ratio says something on a machine that does
//! other things meanwhile; the rates alone don't. Nothing here fails because it is slow.
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
mod plugin;
mod plugin_start;
mod postgres;
mod redis;
mod report;
mod sqlite;
mod workload;

use anyhow::{Result, bail, ensure};

use report::Report;

/// How much is done.
struct Sizes {
    /// Turns of a floor and its path that count.
    rounds: usize,
    /// Events that a round stores.
    events: usize,
    /// Events of the store that is read from.
    stored_events: usize,
    /// The page that is far into an answer.
    deep_page: usize,
    /// Reads or calls that a round times together.
    reads: usize,
    /// Calls into a plugin that a round times together.
    calls: usize,
}

const FULL: Sizes =
    Sizes { rounds: 7, events: 30_000, stored_events: 1_000_000, deep_page: 500, reads: 200, calls: 100_000 };

/// For trying a change of these programs out, not for figures.
const QUICK: Sizes = Sizes { rounds: 3, events: 5_000, stored_events: 20_000, deep_page: 5, reads: 50, calls: 5_000 };

/// The events that one write carries, where they come in batches.
const BATCH: usize = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let (mut sizes, mut filter) = (FULL, None);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => {
                println!("Quick: with far less data than the names say. No figures to go by.\n");
                sizes = QUICK;
            }
            // Cargo says so to every benchmark.
            "--bench" => {}
            option if option.starts_with('-') => bail!("unknown option `{option}`; there is --quick"),
            _ => {
                let earlier = filter.replace(argument);
                ensure!(earlier.is_none(), "one FILTER at most: a part of the names of the paths to measure");
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
    redis::measure(&sizes, &mut report).await?;
    ingest::measure(&sizes, &mut report).await?;
    #[cfg(target_os = "linux")]
    migration::measure(&sizes, &mut report).await?;
    report.end()
}
