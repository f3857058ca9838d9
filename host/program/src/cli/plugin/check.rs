use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::ensure;

use super::report::{
    configured_name, example_grants, name_of, summary, without_problems, write_estimate, write_problems,
};
use crate::cli::output;
use crate::config::{Config, Loaded};
use reflow_tracing::plugin::{Inspection, inspect};

/// Check a plugin file against the contract: its imports, what it may use, what compiling it takes, and every problem with its fix
///
/// The plugin is neither compiled nor run. The exit code is 1 when there are problems.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The component or core module
    file: PathBuf,
    /// Also check what of that this configuration grants
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let inspection = inspect(&args.file)?;
    let configured = args.config.as_deref().map(|file| Config::load(Some(file))).transpose()?;
    output::print(|out| write(out, &inspection))?;
    without_problems(&inspection)?;
    if let Some(Loaded { config, .. }) = configured {
        let name = configured_name(&config, &args.file);
        let usable: Vec<_> = inspection.may_use().collect();
        let missing = match config.plugins.named.get(&name) {
            Some(plugin) => inspection.not_granted(&plugin.grants),
            None => usable.clone(),
        };
        let granted: Vec<_> = usable.iter().copied().filter(|capability| !missing.contains(capability)).collect();
        ensure!(
            usable.is_empty() || !granted.is_empty(),
            "the configuration grants `{name}` none of what it may use: {}; add to [plugins.{name}], for example\n  {}",
            missing.join(", "),
            example_grants(&missing, &name)
        );
        output::print(|out| match missing.as_slice() {
            [] => writeln!(out, "the configuration grants `{name}` all that it may use"),
            missing => writeln!(
                out,
                "the configuration grants `{name}` {}, but not {}: if it calls that, the call fails",
                granted.join(", "),
                missing.join(", ")
            ),
        })?;
    }
    Ok(())
}

fn write(out: &mut dyn Write, inspection: &Inspection) -> io::Result<()> {
    writeln!(out, "{}", summary(inspection))?;
    for (what, interfaces) in [("imports", &inspection.imports), ("exports", &inspection.exports)] {
        writeln!(out, "{what}:")?;
        for interface in interfaces {
            writeln!(out, "  {interface}")?;
        }
    }
    let usable: Vec<_> = inspection.may_use().collect();
    let name = name_of(&inspection.file);
    match usable.as_slice() {
        [] => writeln!(out, "uses nothing that needs a grant")?,
        usable => writeln!(
            out,
            "may use {}, if that is granted, for example:\n  [plugins.{name}]\n  {}",
            usable.join(", "),
            example_grants(usable, &name)
        )?,
    }
    write_estimate(out, &inspection.code)?;
    write_problems(out, inspection)?;
    if inspection.problems.is_empty() {
        writeln!(out, "no problems")?;
    }
    Ok(())
}
