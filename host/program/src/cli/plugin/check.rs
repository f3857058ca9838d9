use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::ensure;

use super::report::{example_grants, name_of, summary, without_problems, write_problems};
use crate::cli::output;
use crate::config::{Config, Loaded};
use reflow_tracing::plugin::{Inspection, inspect};

/// Check a plugin file against the contract: its imports, the grants it needs, and every problem with its fix
///
/// The plugin is neither compiled nor run. The exit code is 1 when there are problems.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The component, or a core module with an embedded world
    file: PathBuf,
    /// Also check that this configuration grants what the plugin needs
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
        let missing = match config.plugins.named.get(&name) {
            Some(plugin) => inspection.missing_grants(&plugin.grants),
            None => inspection.needs_grants().collect(),
        };
        ensure!(
            missing.is_empty(),
            "the configuration does not grant `{name}` {}; add to [plugins.{name}], for example\n  {}",
            missing.join(", "),
            example_grants(&missing, &name)
        );
        output::print(|out| writeln!(out, "the configuration grants `{name}` what it needs"))?;
    }
    Ok(())
}

/// The plugin whose table names this file, else the plugin with the file's name.
fn configured_name(config: &Config, file: &Path) -> String {
    let same = |other: &Path| other == file || other.canonicalize().ok() == file.canonicalize().ok();
    let named = config.plugins.named.iter().find(|(_, plugin)| plugin.file.as_deref().is_some_and(same));
    named.map_or_else(|| name_of(file), |(name, _)| name.clone())
}

fn write(out: &mut dyn Write, inspection: &Inspection) -> io::Result<()> {
    writeln!(out, "{}", summary(inspection))?;
    for (what, interfaces) in [("imports", &inspection.imports), ("exports", &inspection.exports)] {
        writeln!(out, "{what}:")?;
        for interface in interfaces {
            writeln!(out, "  {interface}")?;
        }
    }
    let needs: Vec<_> = inspection.needs_grants().collect();
    let name = name_of(&inspection.file);
    match needs.as_slice() {
        [] => writeln!(out, "needs no grants")?,
        needs => writeln!(
            out,
            "needs grants for {}, for example:\n  [plugins.{name}]\n  {}",
            needs.join(", "),
            example_grants(needs, &name)
        )?,
    }
    write_problems(out, inspection)?;
    if inspection.problems.is_empty() {
        writeln!(out, "no problems")?;
    }
    Ok(())
}
