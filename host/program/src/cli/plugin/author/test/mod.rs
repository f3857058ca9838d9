mod grants;
mod recording;
mod stores;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

use crate::cli::output;
use crate::cli::plugin::report::{name_of, without_problems, write_problems};
use crate::config::PluginsConfig;
use grants::Grant;
use reflow_tracing::plugin::{PluginConfig, PluginRuntime, inspect};
use reflow_tracing::storage::conformance::{Ability, Report, Suite};
pub(super) use stores::Stores;

/// Run the conformance suite of all backends on a plugin, and print one line per case
///
/// Each case starts with an empty store. In the values of --grant, {dir} is replaced with a new temporary folder and
/// {random} with a new text, in every case. A store whose value has neither is shared: it must be empty, and the traces of a
/// case are deleted after it. Without --grant, a plugin that may use `sql` gets a SQLite file per case, and one that may use
/// `keyvalue` a file, each with the label `default`.
///
/// The exit code is 0 when every case passed.
#[derive(clap::Args)]
pub(in crate::cli::plugin) struct Args {
    /// The component or core module
    file: PathBuf,
    #[command(flatten)]
    stores: StoreArgs,
    /// Run only cases with this text in their names
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// What a plugin's temporary stores are made with.
#[derive(clap::Args)]
pub(super) struct StoreArgs {
    /// A grant, as in [plugins.NAME.grants]: sql.default=sqlite:{dir}/traces.db
    #[arg(long = "grant", value_name = "CAPABILITY.LABEL=VALUE", value_parser = grants::parse)]
    grants: Vec<Grant>,
    /// The plugin's configuration, as in [plugins.NAME.config]: a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_config, default_value = "{}")]
    config_json: JsonObject,
}

impl StoreArgs {
    /// The stores of the plugin in `file`, which is inspected and compiled.
    pub(super) async fn stores(&self, file: &Path) -> anyhow::Result<Stores> {
        let inspection = inspect(file)?;
        write_problems(&mut output::stderr(), &inspection)?;
        without_problems(&inspection)?;
        let mut grants = self.grants.clone();
        if grants.is_empty() {
            grants = grants::temporary(inspection.may_use());
        }
        let name = name_of(file);
        let config = PluginConfig { limits: Stores::limits(), ..PluginConfig::default() };
        // The code that a host has compiled is used, and the other way round.
        let component = PluginRuntime::new(&PluginsConfig::default().runtime())?.compile(&name, file, &config).await?;
        Ok(Stores { name, component, grants, config: self.config_json.clone(), written: Default::default() })
    }
}

type JsonObject = Map<String, Value>;

fn parse_config(text: &str) -> Result<JsonObject, String> {
    serde_json::from_str(text).map_err(|error| format!("expected a JSON object: {error}"))
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let stores = args.stores.stores(&args.file).await?;
    let mut all = Suite::new();
    if let Some(filter) = &args.filter {
        all = all.only(filter);
    }
    let deletes = stores.check().await?;
    let suite = if deletes { all.clone() } else { all.clone().without(Ability::Deletion) };
    let run: HashSet<_> = suite.cases().map(|case| case.name).collect();
    let skipped: Vec<_> = all.cases().filter(|case| !run.contains(case.name)).collect();
    if run.is_empty() {
        bail!("no case matches --filter {:?}", args.filter.unwrap_or_default());
    }
    let (separate, shared) =
        ("each case has its own store", "the cases share a store, which is emptied after each case");
    output::print(|out| writeln!(out, "{}", if stores.are_fresh() { separate } else { shared }))?;

    let report = tell(&suite, &stores).await?;
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

/// Runs the cases, and prints a line for each.
pub(super) async fn tell(suite: &Suite, stores: &Stores) -> anyhow::Result<Report> {
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
    match failed_to_print {
        Some(error) => Err(error).context("can't write to stdout"),
        None => Ok(report),
    }
}
