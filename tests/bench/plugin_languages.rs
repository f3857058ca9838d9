//! The same backend over `keyvalue`, in each language.
//!
//! `cargo xtask plugins --lang all` builds the plugins; those that are missing are not measured.

use std::path::Path as FilePath;
use std::time::Instant;

use anyhow::{Result, ensure};
use reflow_tracing::TraceQuery;
use reflow_tracing::migration::{Backup, CopyOptions};
use reflow_tracing::plugin::{Grants, PluginBackend, PluginConfig, PluginRuntime, PluginRuntimeConfig};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing_tests::root;

use crate::Sizes;
use crate::ingest::processor_seconds;
use crate::measure::{Rounds, median, seconds_each};
use crate::paths::store;
use crate::plugin::relational;
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{EVENTS_A_TRACE, Workload};

const FLOOR: &str = "the plugin relational";

/// A plugin, and what is measured of it.
struct Language {
    plugin: &'static str,
    storing: Path,
    reading: Path,
    exporting: Path,
    start: Path,
}

macro_rules! language {
    ($plugin:literal, $goal:literal, $exported:literal) => {
        Language {
            plugin: $plugin,
            storing: Path {
                name: concat!("plugin-languages ", $plugin, ": processor time of storing an event"),
                floor: FLOOR,
                unit: Unit::Time,
                reach: Reach::Cost($goal),
            },
            reading: Path {
                name: concat!("plugin-languages ", $plugin, ": get_events of 10,000"),
                floor: FLOOR,
                unit: Unit::Rate,
                reach: Reach::Report,
            },
            exporting: Path {
                name: concat!("plugin-languages ", $plugin, ": exported events"),
                floor: "-",
                unit: Unit::Rate,
                reach: Reach::Seconds(1.0 / $exported),
            },
            start: Path {
                name: concat!("plugin-languages ", $plugin, ": start with cached code"),
                floor: "-",
                unit: Unit::Time,
                reach: Reach::Report,
            },
        }
    };
}

const LANGUAGES: [Language; 4] = [
    language!("keyvalue-c", 1.05, 268e3),
    language!("keyvalue-go", 1.2, 152e3),
    language!("keyvalue-python", 1.3, 98e3),
    language!("keyvalue-typescript", 1.5, 52e3),
];

/// The events of a large trace.
const LARGE: usize = 10_000;

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    for Language { plugin, storing, reading, exporting, start } in &LANGUAGES {
        let component = root().join("plugins").join(format!("{plugin}.wasm"));
        let wanted = [storing, reading, exporting, start].map(|path| report.wants(path));
        if !wanted.contains(&true) {
            continue;
        }
        let [wants_storing, wants_reading, wants_exporting, wants_start] = wanted;
        if !component.is_file() {
            println!("{} is missing: build it with `cargo xtask plugins --lang all`", component.display());
            continue;
        }
        if wants_storing {
            report.compared(storing, &storing_events(sizes, plugin, &component).await?);
        }
        if wants_reading {
            report.compared(reading, &reading_events(sizes, plugin, &component).await?);
        }
        if wants_exporting {
            report.alone(exporting, exported_events(sizes, plugin, &component).await?);
        }
        if wants_start {
            report.alone(start, started(sizes, plugin, &component).await?);
        }
    }
    Ok(())
}

/// The plugin in `component`, with its own bucket in `folder`.
async fn keyvalue(plugin: &str, component: &FilePath, folder: &FilePath) -> Result<PluginBackend> {
    Ok(PluginBackend::load(plugin, component, &bucket_in(folder)).await?)
}

/// Grants a bucket in `folder`.
fn bucket_in(folder: &FilePath) -> PluginConfig {
    let bucket = format!("file:{}", folder.join("bucket.kv").display());
    let grants = Grants { keyvalue: [("default".into(), bucket)].into(), ..Grants::default() };
    PluginConfig { grants, ..PluginConfig::default() }
}

async fn storing_events(sizes: &Sizes, plugin: &str, component: &FilePath) -> Result<Rounds> {
    let folder = tempfile::tempdir()?;
    let mut workload = Workload::new()?;
    let floor = relational(folder.path()).await?;
    let path = keyvalue(plugin, component, folder.path()).await?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let events = workload.events(sizes.events);
        let count = events.len();
        let spent = async |storage: &dyn StorageBackend| {
            let before = processor_seconds(std::process::id())?;
            store(storage, events.clone()).await?;
            Ok((processor_seconds(std::process::id())? - before) / count as f64)
        };
        rounds.round(async || spent(&floor).await, async || spent(&path).await).await?;
    }
    ensure!(floor.stats().await?.events == path.stats().await?.events, "path and floor stored different events");
    Ok(rounds)
}

async fn reading_events(sizes: &Sizes, plugin: &str, component: &FilePath) -> Result<Rounds> {
    let folder = tempfile::tempdir()?;
    let trace = Workload::new()?.trace(LARGE);
    let trace_id = trace.trace_id;
    let floor = relational(folder.path()).await?;
    let path = keyvalue(plugin, component, folder.path()).await?;
    floor.store_trace(trace.clone()).await?;
    path.store_trace(trace).await?;
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
        rounds.round(async || time(&floor).await, async || time(&path).await).await?;
    }
    Ok(rounds)
}

/// An export of traces of ordinary size to nowhere. Returns the seconds of an event.
async fn exported_events(sizes: &Sizes, plugin: &str, component: &FilePath) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut workload = Workload::new()?;
    let storage = keyvalue(plugin, component, folder.path()).await?;
    let traces: Vec<_> = (0..sizes.events / EVENTS_A_TRACE).map(|_| workload.trace(EVENTS_A_TRACE)).collect();
    let count = traces.len() * EVENTS_A_TRACE;
    for traces in traces.chunks(100) {
        storage.store_traces(traces.to_vec()).await?;
    }
    let mut costs = Vec::new();
    for _ in 0..sizes.rounds {
        let start = Instant::now();
        let report =
            storage.export_to_writer(std::io::sink(), "-", TraceQuery::default(), &CopyOptions::default()).await?;
        ensure!(report.copied.events as usize == count, "the export is not complete: {report:?}");
        costs.push(seconds_each(start, count));
    }
    Ok(median(costs))
}

/// Reads, checks and links the component, whose machine code is in the cache, opens its bucket, and asks for its statistics.
async fn started(sizes: &Sizes, plugin: &str, component: &FilePath) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let cache_dir = Some(folder.path().join("cache"));
    let load = async || {
        let runtime = PluginRuntime::new(&PluginRuntimeConfig { cache_dir: cache_dir.clone(), ..Default::default() })?;
        let backend = runtime.load(plugin, component, &bucket_in(folder.path())).await?;
        backend.stats().await?;
        Ok::<_, anyhow::Error>(backend.report().compiled_code_from_cache)
    };
    load().await?;
    let mut costs = Vec::new();
    for _ in 0..sizes.rounds {
        let start = Instant::now();
        let from_cache = load().await?;
        costs.push(start.elapsed().as_secs_f64());
        ensure!(from_cache, "the code was compiled anew");
    }
    Ok(median(costs))
}
