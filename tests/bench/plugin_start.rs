//! How soon a plugin is there.

use std::path::Path as FilePath;
use std::time::Instant;

use anyhow::{Result, ensure};
use reflow_tracing::plugin::{PluginConfig, PluginRuntime, PluginRuntimeConfig};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing_tests::{plugin, test_plugin};

use crate::Sizes;
use crate::measure::median;
use crate::plugin::relational_config;
use crate::report::{Path, Reach, Report, Unit};

const START: Path = Path {
    name: "plugin relational: start with kept code, to the first answer",
    floor: "-",
    unit: Unit::Time,
    reach: Reach::Seconds(20e-3),
};
const INSTANCE: Path = Path {
    name: "plugin: a new instance, opened and asked for its health",
    floor: "-",
    unit: Unit::Time,
    reach: Reach::Seconds(20e-6),
};

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    if report.wants(&START) {
        report.alone(&START, start(sizes).await?);
    }
    if report.wants(&INSTANCE) {
        report.alone(&INSTANCE, instance(sizes).await?);
    }
    Ok(())
}

/// Reading, checking and linking the component, opening its store and asking it for its figures.
async fn start(sizes: &Sizes) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let cache_dir = Some(folder.path().join("cache"));
    let config = relational_config(folder.path());
    let load = async |file: &FilePath| {
        // What a process does once.
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

/// What opening a compiled plugin costs, all included; the plugin itself does nothing.
async fn instance(sizes: &Sizes) -> Result<f64> {
    let runtime = PluginRuntime::new(&PluginRuntimeConfig::default())?;
    let config = PluginConfig::default();
    let component = runtime.compile("hostile", &test_plugin("hostile"), &config).await?;
    let mut costs = Vec::new();
    for _ in 0..sizes.reads * 10 {
        let component = component.clone();
        let start = Instant::now();
        let backend = runtime.open("hostile", component, &config).await?;
        costs.push(start.elapsed().as_secs_f64());
        backend.close().await?;
    }
    Ok(median(costs))
}
