mod forwarder;
mod grants;
mod recording;
mod services;
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
use reflow_tracing::storage::conformance::{Report, Suite};
use services::RedisServer;
pub(super) use stores::{Abilities, Stores};

/// Run the conformance suite of all backends on a plugin, and print one line per case
///
/// Each case starts with an empty store. In the values of --grant, {dir} is replaced with a new temporary folder and
/// {random} with a new text, in every case. A store whose value has neither is shared: it must be empty, and the traces of a
/// case are deleted after it.
///
/// A capability without a --grant gets something temporary with the label `default`: `sql` a SQLite file per case, `keyvalue`
/// a file, `redis` a redis-server that this command starts, with keys of their own for each case, and `http` a receiver on this
/// machine, whose address is the setting `url`.
///
/// A plugin that answers no read is a forwarder. Its suite checks that all that was written arrives at that receiver, and what
/// happens when the receiver fails, refuses, or does not answer. It must post JSON.
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
        let lacks: Vec<_> = inspection
            .may_use()
            .filter(|capability| !self.grants.iter().any(|grant| grant.is_of(capability)))
            .collect();
        let mut grants = self.grants.clone();
        grants.extend(lacks.iter().filter_map(|capability| Grant::of_file(capability)));
        let redis = if lacks.contains(&"redis") { Some(RedisServer::start().await?) } else { None };
        grants.extend(redis.as_ref().map(|server| Grant::of_redis(&server.url())));
        let name = name_of(file);
        let config = PluginConfig { limits: Stores::limits(), ..PluginConfig::default() };
        // The code that a host has compiled is used, and the other way round.
        let component = PluginRuntime::new(&PluginsConfig::default().runtime())?.compile(&name, file, &config).await?;
        Ok(Stores {
            name,
            component,
            grants,
            config: self.config_json.clone(),
            written: Default::default(),
            receives: lacks.contains(&"http"),
            _redis: redis,
        })
    }
}

type JsonObject = Map<String, Value>;

fn parse_config(text: &str) -> Result<JsonObject, String> {
    serde_json::from_str(text).map_err(|error| format!("expected a JSON object: {error}"))
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let stores = args.stores.stores(&args.file).await?;
    let abilities = stores.check().await?;
    let mut all = abilities.kind_of_suite();
    if let Some(filter) = &args.filter {
        all = all.only(filter);
    }
    let suite = abilities.restrict(all.clone());
    let run: HashSet<_> = suite.cases().map(|case| case.name).collect();
    let skipped: Vec<_> = all.cases().filter(|case| !run.contains(case.name)).collect();
    if run.is_empty() {
        bail!("no case matches --filter {:?}", args.filter.unwrap_or_default());
    }
    let stores_are = if abilities.forwards {
        "a forwarder, since it answers no read: each case has its own receiver, and reads what that has accepted"
    } else if stores.are_fresh() {
        "each case has its own store"
    } else {
        "the cases share a store, which is emptied after each case"
    };
    output::print(|out| writeln!(out, "{stores_are}"))?;

    let report = tell(&suite, &stores, abilities).await?;
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
pub(super) async fn tell(suite: &Suite, stores: &Stores, abilities: Abilities) -> anyhow::Result<Report> {
    let mut failed_to_print = None;
    let report = suite
        .run_telling(
            || stores.next(abilities),
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
