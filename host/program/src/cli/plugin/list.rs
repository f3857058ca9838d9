use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::{name_of, size};
use crate::cli::{ConfigFile, output, table};
use crate::config::Config;
use reflow_tracing::plugin::{PluginErrors, PluginReport, inspect};

/// Time limit for the host's answer.
const HOST_TIMEOUT: Duration = Duration::from_secs(2);

/// List the plugins in the plugins folder and in the configuration, and the metrics of those that a running host has loaded
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let files = files(&config)?;
    if files.is_empty() {
        let folder = config.plugins.dir.display();
        return Ok(output::print(|out| {
            writeln!(
                out,
                "no plugins: the folder {folder} has no .wasm file, and the configuration has no table [plugins.NAME]"
            )
        })?);
    }
    let mut table = table::new_table(["NAME", "FILE", "SIZE", "SHA256", "CONTRACT", "CAPABILITIES", "STATE"]);
    for (name, file) in &files {
        table.add_row(row(&config, name, file));
    }
    let text = table.trim_fmt();
    output::print(|out| writeln!(out, "{text}"))?;
    let address = config.server.address();
    let Ok(loaded) = loaded_plugins(&address) else {
        output::print(|out| writeln!(out, "\nno host answers at {address}, so there are no metrics to show"))?;
        return Ok(());
    };
    if !loaded.is_empty() {
        let text = metrics(&loaded);
        output::print(|out| writeln!(out, "\nloaded by the host at {address}:\n{text}"))?;
    }
    Ok(())
}

/// The plugins that the host at `address` has loaded.
fn loaded_plugins(address: &str) -> Result<Vec<PluginReport>, ureq::Error> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(HOST_TIMEOUT)).build().new_agent();
    agent.get(format!("http://{address}/api/v1/plugins")).call()?.body_mut().read_json()
}

fn metrics(plugins: &[PluginReport]) -> String {
    let columns =
        ["NAME", "CALLS", "ERRORS", "TRAPS", "RESTARTS", "BUSY", "IDLE", "MEMORY", "P50", "P99", "CODE", "HEALTH"];
    let mut table = table::new_table(columns);
    for plugin in plugins {
        let PluginErrors { trapped, timed_out, busy, refused, paused } = plugin.errors;
        table.add_row([
            plugin.name.clone(),
            plugin.all.calls.to_string(),
            (trapped + timed_out + busy + refused + paused).to_string(),
            trapped.to_string(),
            plugin.restarts.to_string(),
            plugin.instances_busy.to_string(),
            plugin.instances_idle.to_string(),
            size(plugin.memory_bytes as u64),
            format!("{:.3} ms", plugin.all.p50 * 1e3),
            format!("{:.3} ms", plugin.all.p99 * 1e3),
            if plugin.compiled_code_from_cache { "cached" } else { "compiled" }.into(),
            plugin.health.clone(),
        ]);
    }
    table.trim_fmt()
}

/// The file of each plugin, whether or not it exists.
fn files(config: &Config) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let folder = &config.plugins.dir;
    let mut files = BTreeMap::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let path = entry.with_context(|| format!("can't read the folder {}", folder.display()))?.path();
                if path.extension().is_some_and(|extension| extension == "wasm") {
                    files.insert(name_of(&path), path);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("can't read the folder {}", folder.display())),
    }
    // A table's `file` takes precedence over the folder, as in the host.
    for (name, plugin) in &config.plugins.named {
        let file = plugin.file.clone().unwrap_or_else(|| folder.join(format!("{name}.wasm")));
        files.insert(name.clone(), file);
    }
    Ok(files)
}

fn row(config: &Config, name: &str, file: &Path) -> [String; 7] {
    let table = config.plugins.named.get(name);
    let mut states = Vec::new();
    if config.storage.backend == name {
        states.push("the configured backend".to_owned());
    }
    if table.is_none() {
        states.push(format!("no table [plugins.{name}]"));
    }
    let mut row = [name, &file.display().to_string(), "-", "-", "-", "-"].map(str::to_owned);
    if !file.exists() {
        states.push("no such file".into());
    } else {
        match inspect(file) {
            Ok(inspection) => {
                row[2] = size(inspection.bytes);
                row[3] = inspection.sha256.chars().take(12).collect();
                row[4] = inspection.contract.clone().unwrap_or_else(|| "-".into());
                row[5] = inspection.capabilities.join(", ");
                let missing: BTreeSet<_> = table
                    .map(|table| inspection.missing_grants(&table.grants))
                    .unwrap_or_default()
                    .into_iter()
                    .collect();
                states.extend(missing.into_iter().map(|capability| format!("`{capability}` is not granted")));
                if !inspection.problems.is_empty() {
                    states.push(format!("can't run on this host, see reflow-tracing plugin check {}", file.display()));
                }
            }
            Err(error) => states.push(error.problem.what),
        }
    }
    let [name, file, size, sha256, contract, capabilities] = row;
    [name, file, size, sha256, contract, capabilities, if states.is_empty() { "ok".into() } else { states.join("; ") }]
}
