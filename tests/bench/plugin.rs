//! Plugins.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginConfig};
use reflow_tracing::storage::{SqliteStorage, StorageBackend};
use reflow_tracing_tests::{plugin, test_plugin};

use crate::measure::{Rounds, median, seconds_each};
use crate::paths::store;
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{Workload, in_batches};
use crate::{BATCH, Sizes};

const BATCHES: Path = Path {
    name: "plugin relational: events in batches of 1,000",
    floor: "the native SQLite backend",
    unit: Unit::Rate,
    reach: Reach::Speed(0.95),
};
const COLUMNS: Path = Path {
    name: "plugin copying-writer: batches of 1,000 as columns",
    floor: "the native SQLite backend",
    unit: Unit::Rate,
    reach: Reach::Report,
};
const RECORDS: Path = Path {
    name: "plugin copying-writer: batches of 1,000 as records",
    floor: "the native SQLite backend",
    unit: Unit::Rate,
    reach: Reach::Report,
};
const GET_EVENTS: Path = Path {
    name: "plugin relational: get_events of 10,000",
    floor: "the native SQLite backend",
    unit: Unit::Rate,
    reach: Reach::Speed(0.95),
};
const EMPTY_CALL: Path =
    Path { name: "plugin: a call that does nothing", floor: "-", unit: Unit::Time, reach: Reach::Seconds(1.5e-6) };

const INSTANCES: Path = Path {
    name: "plugin copying-writer: digests with 4 instances",
    floor: "1 instance",
    unit: Unit::Rate,
    reach: Reach::Speed(1.6),
};

/// The events of a large trace.
const LARGE: usize = 10_000;

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    if report.wants(&BATCHES) {
        report.compared(&BATCHES, &batches(sizes, relational).await?);
    }
    if report.wants(&COLUMNS) {
        report.compared(
            &COLUMNS,
            &batches(sizes, async |folder| copying_writer(folder, "columns", Limits::default()).await).await?,
        );
    }
    if report.wants(&RECORDS) {
        report.compared(
            &RECORDS,
            &batches(sizes, async |folder| copying_writer(folder, "records", Limits::default()).await).await?,
        );
    }
    if report.wants(&INSTANCES) {
        report.compared(&INSTANCES, &instances(sizes).await?);
    }
    if report.wants(&GET_EVENTS) {
        report.compared(&GET_EVENTS, &get_events(sizes).await?);
    }
    if report.wants(&EMPTY_CALL) {
        report.alone(&EMPTY_CALL, empty_call(sizes).await?);
    }
    Ok(())
}

/// The plugin `relational` with its own database in `folder`.
pub async fn relational(folder: &FilePath) -> Result<PluginBackend> {
    Ok(PluginBackend::load("relational", &plugin("relational"), &relational_config(folder)).await?)
}

/// Grants it its own database in `folder`.
pub fn relational_config(folder: &FilePath) -> PluginConfig {
    let database = format!("sqlite:{}", folder.join("relational.db").display());
    let grants = Grants { sql: [("default".into(), database)].into(), ..Grants::default() };
    PluginConfig { grants, ..PluginConfig::default() }
}

/// The plugin that copies events into its memory, as `write` says, with its own database in `folder`.
async fn copying_writer(folder: &FilePath, write: &str, limits: Limits) -> Result<PluginBackend> {
    let database = format!("sqlite:{}", folder.join(format!("{write}-{}.db", limits.instances)).display());
    let grants = Grants { sql: [("default".into(), database)].into(), ..Grants::default() };
    let config = [("write".to_owned(), write.into())].into_iter().collect();
    let config = PluginConfig { grants, config, limits, ..PluginConfig::default() };
    Ok(PluginBackend::load("copying-writer", &test_plugin("copying-writer"), &config).await?)
}

async fn batches(sizes: &Sizes, open: impl AsyncFnOnce(&FilePath) -> Result<PluginBackend>) -> Result<Rounds> {
    let folder = tempfile::tempdir()?;
    let mut workload = Workload::new()?;
    let native = SqliteStorage::new(folder.path().join("native.db")).await?;
    let plugin = open(folder.path()).await?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let events = workload.events(sizes.events);
        let floor = async || store(&native, events.clone()).await;
        let path = async || store(&plugin, events.clone()).await;
        rounds.round(floor, path).await?;
    }
    ensure!(native.stats().await?.events == plugin.stats().await?.events, "path and floor stored different events");
    Ok(rounds)
}

/// A plugin that computes, which stores what several writers send.
async fn instances(sizes: &Sizes) -> Result<Rounds> {
    let folder = tempfile::tempdir()?;
    let mut workload = Workload::new()?;
    let open = async |instances| {
        let limits = Limits { instances, ..Limits::default() };
        Ok::<_, anyhow::Error>(Arc::new(copying_writer(folder.path(), "digests", limits).await?))
    };
    let (one, four) = (open(1).await?, open(4).await?);
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let events = workload.events(sizes.events);
        let time = async |storage: &Arc<PluginBackend>| {
            let count = events.len();
            let batches = in_batches(events.clone(), BATCH);
            let start = Instant::now();
            let writers = batches.into_iter().map(|batch| {
                let storage = Arc::clone(storage);
                tokio::spawn(async move { storage.store_events(batch).await })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await??;
            }
            Ok(seconds_each(start, count))
        };
        rounds.round(async || time(&one).await, async || time(&four).await).await?;
    }
    ensure!(one.stats().await?.events == four.stats().await?.events, "path and floor stored different events");
    Ok(rounds)
}

async fn get_events(sizes: &Sizes) -> Result<Rounds> {
    let folder = tempfile::tempdir()?;
    let trace = Workload::new()?.trace(LARGE);
    let trace_id = trace.trace_id;
    let native = SqliteStorage::new(folder.path().join("native.db")).await?;
    let plugin = relational(folder.path()).await?;
    native.store_trace(trace.clone()).await?;
    plugin.store_trace(trace).await?;
    let time = async |storage: &dyn StorageBackend| {
        let reads = sizes.reads.div_ceil(10);
        let start = Instant::now();
        for _ in 0..reads {
            ensure!(storage.get_events(trace_id).await?.len() == LARGE, "the trace is not complete");
        }
        Ok(seconds_each(start, reads * LARGE))
    };
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        rounds.round(async || time(&native).await, async || time(&plugin).await).await?;
    }
    Ok(rounds)
}

async fn empty_call(sizes: &Sizes) -> Result<f64> {
    // The health check does nothing, and the instance exists already.
    let backend = PluginBackend::load("hostile", &test_plugin("hostile"), &PluginConfig::default()).await?;
    let mut costs = Vec::new();
    for _ in 0..sizes.rounds {
        let start = Instant::now();
        for _ in 0..sizes.calls {
            backend.health_check().await?;
        }
        costs.push(seconds_each(start, sizes.calls));
    }
    Ok(median(costs))
}
