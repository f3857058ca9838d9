//! How long a plugin takes to start.

use std::path::Path as FilePath;
use std::time::Instant;

use anyhow::{Result, ensure};
use reflow_tracing::plugin::{Limits, PluginBackend, PluginConfig, PluginRuntime, PluginRuntimeConfig};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing_tests::{plugin, test_plugin};

use crate::Sizes;
use crate::measure::{median, seconds_each};
use crate::plugin::relational_config;
use crate::report::{Path, Reach, Report, Unit};

const START: Path = Path {
    name: "plugin relational: start with cached code, to the first answer",
    floor: "-",
    unit: Unit::Time,
    reach: Reach::Seconds(20e-3),
};
const MAKING: Path =
    Path { name: "plugin: making an instance", floor: "-", unit: Unit::Time, reach: Reach::Seconds(20e-6) };
const INSTANCE: Path = Path {
    name: "plugin: a call on a new instance, created and opened for it",
    floor: "-",
    unit: Unit::Time,
    reach: Reach::Report,
};

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    if report.wants(&START) {
        report.alone(&START, start(sizes).await?);
    }
    let (making, instance) = (report.wants(&MAKING), report.wants(&INSTANCE));
    if making || instance {
        let (made, called) = instances(sizes).await?;
        if making {
            report.alone(&MAKING, made);
        }
        if instance {
            report.alone(&INSTANCE, called);
        }
    }
    Ok(())
}

/// Reads, checks and links the component, opens its store, and asks for its metrics.
async fn start(sizes: &Sizes) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let cache_dir = Some(folder.path().join("cache"));
    let config = relational_config(folder.path());
    let load = async |file: &FilePath| {
        // Work that a process does once.
        let runtime = PluginRuntime::new(&PluginRuntimeConfig { cache_dir: cache_dir.clone(), ..Default::default() })?;
        let backend = runtime.load("relational", file, &config).await?;
        backend.stats().await?;
        Ok::<_, anyhow::Error>(backend.report().compiled_code_from_cache)
    };
    let file = plugin("relational");
    load(&file).await?;
    let mut costs = Vec::new();
    for _ in 0..sizes.rounds.max(5) {
        let start = Instant::now();
        let from_cache = load(&file).await?;
        costs.push(start.elapsed().as_secs_f64());
        ensure!(from_cache, "the code was compiled anew");
    }
    Ok(median(costs))
}

/// The cost of creating an instance, and of a whole call on a new one. The plugin itself does nothing.
async fn instances(sizes: &Sizes) -> Result<(f64, f64)> {
    // No instance is reused.
    let limits = Limits { recycle_mb: 0, ..Limits::default() };
    let config = PluginConfig { limits, ..PluginConfig::default() };
    let backend = PluginBackend::load("hostile", &test_plugin("hostile"), &config).await?;
    let calls = sizes.calls / 20;
    let mut costs = Vec::new();
    for _ in 0..sizes.rounds {
        let start = Instant::now();
        for _ in 0..calls {
            backend.health_check().await?;
        }
        costs.push(seconds_each(start, calls));
    }
    let report = backend.report();
    ensure!(report.instances_recycled > calls as u64, "instances were kept");
    Ok((report.making.p50, median(costs)))
}
