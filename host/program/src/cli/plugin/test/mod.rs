//! `reflow-tracing plugin test`.

mod grants;
mod recording;
mod stores;

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

use super::{fail_on_problems, name_of, write_problems};
use crate::cli::output;
use grants::Grant;
use recording::WrittenTraces;
use reflow_tracing::plugin::{PluginComponent, PluginConfig, inspect};
use reflow_tracing::storage::conformance::{Ability, Suite};
use stores::Stores;

/// Run the conformance suite of storage backends on a plugin
///
/// Each case begins with an empty store. In the values of --grant, {dir} becomes a new temporary folder for each case, and
/// {random} a new text. A store whose value has neither is shared: it must be empty, and each case deletes what it wrote.
/// Without --grant, a plugin that imports `sql` gets a SQLite file for each case under the label `default`.
///
/// The exit code is 0 when every case passed.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The component, or a core module with an embedded world
    file: PathBuf,
    /// A grant, as in [plugins.NAME.grants]: sql.default=sqlite:{dir}/traces.db
    #[arg(long = "grant", value_name = "CAPABILITY.LABEL=VALUE", value_parser = grants::parse)]
    grants: Vec<Grant>,
    /// The plugin's settings, as in [plugins.NAME.config]: a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_config, default_value = "{}")]
    config_json: JsonObject,
    /// Run only cases with this text in their name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

type JsonObject = Map<String, Value>;

fn parse_config(text: &str) -> Result<JsonObject, String> {
    serde_json::from_str(text).map_err(|error| format!("it must be a JSON object: {error}"))
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let inspection = inspect(&args.file)?;
    write_problems(&mut std::io::stderr(), &inspection)?;
    fail_on_problems(&inspection)?;
    let mut grants = args.grants;
    if grants.is_empty() && inspection.needs_grants().any(|capability| capability == "sql") {
        grants.push(grants::temporary_sqlite());
    }
    let name = name_of(&args.file);
    let config = PluginConfig { limits: Stores::limits(), ..PluginConfig::default() };
    let component = PluginComponent::load(&name, &args.file, &config).await?;
    let stores = Stores { name, component, grants, config: args.config_json, written: WrittenTraces::default() };

    let mut all = Suite::new();
    if let Some(filter) = &args.filter {
        all = all.only(filter);
    }
    let deletes = stores.check().await?;
    let suite = if deletes { all.clone() } else { all.clone().without(Ability::Deletion) };
    let run: HashSet<_> = suite.cases().map(|case| case.name).collect();
    let skipped: Vec<_> = all.cases().filter(|case| !run.contains(case.name)).collect();
    if run.is_empty() {
        bail!("no case has {:?} in its name", args.filter.unwrap_or_default());
    }
    let (isolated, shared) = ("each case has its own store", "the cases share a store, which is emptied after each");
    output::print(|out| writeln!(out, "{}", if stores.are_isolated() { isolated } else { shared }))?;

    let mut failed_to_print = None;
    let report = suite
        .run_telling(
            || stores.next(),
            |verdict| {
                if let Err(error) = output::print(|out| writeln!(out, "{verdict}")) {
                    failed_to_print = Some(error);
                }
            },
        )
        .await;
    stores.clean().await?;
    if let Some(error) = failed_to_print {
        return Err(error).context("can't print");
    }
    let (passed, failed) = (run.len() - report.failed().count(), report.failed().count());
    output::print(|out| {
        for case in &skipped {
            writeln!(out, "skipped           {} (optional: the plugin does not support deletion)", case.name)?;
        }
        writeln!(out, "{passed} passed, {failed} failed, {} skipped", skipped.len())
    })?;
    ensure!(report.passed(), "{failed} of {} cases failed", run.len());
    Ok(())
}
