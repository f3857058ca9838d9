use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{name_of, size};
use crate::cli::{ConfigFile, output, table};
use crate::config::Config;
use crate::plugin::inspect;

/// List the plugins: those in the plugins folder, and those that the configuration describes
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
            writeln!(out, "no plugins: the folder {folder} holds no .wasm file, and the configuration describes none")
        })?);
    }
    let mut table = table::new_table(["NAME", "FILE", "SIZE", "SHA256", "CONTRACT", "CAPABILITIES", "STATE"]);
    for (name, file) in &files {
        table.add_row(row(&config, name, file));
    }
    let text = table.trim_fmt();
    output::print(|out| writeln!(out, "{text}"))?;
    Ok(())
}

/// The file of each plugin, whether it is there or not.
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
    // What a table names counts more than what lies in the folder, as it does for the host.
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
                let missing: BTreeSet<_> =
                    table.map(|table| inspection.not_in(&table.grants)).unwrap_or_default().into_iter().collect();
                states.extend(missing.into_iter().map(|capability| format!("nothing of `{capability}` is granted")));
                if !inspection.problems.is_empty() {
                    states
                        .push(format!("can't work with this host, see reflow-tracing plugin check {}", file.display()));
                }
            }
            Err(error) => states.push(error.problem.what),
        }
    }
    let [name, file, size, sha256, contract, capabilities] = row;
    [name, file, size, sha256, contract, capabilities, if states.is_empty() { "ok".into() } else { states.join("; ") }]
}
