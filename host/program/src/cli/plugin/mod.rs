//! What authors of plugins and who installs them need: `reflow-tracing plugin ..`.

mod build;
mod check;
mod inspect;
mod install;
mod list;
mod new;
mod template;
mod test;

use std::io::{self, Write};
use std::path::Path;

use clap::Subcommand;

use reflow_tracing::plugin::Inspection;

/// Write, check, test and list plugins
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(new::Args),
    Build(build::Args),
    Check(check::Args),
    Inspect(inspect::Args),
    Test(test::Args),
    List(list::Args),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Test(args) => test::run(args).await,
        Command::List(args) => list::run(&args),
    }
}

/// The name that a file gives a plugin: `plugins/ledger.wasm` is `ledger`.
fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// One line: what the file is.
fn summary(inspection: &Inspection) -> String {
    let contract = match &inspection.contract {
        Some(version) => format!("for contract {version}"),
        None => "no storage plugin".into(),
    };
    format!("{}: {}, {contract}, {}", inspection.file.display(), inspection.kind, size(inspection.bytes))
}

fn size(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

/// The problems with their fixes, if any.
fn write_problems(out: &mut dyn Write, inspection: &Inspection) -> io::Result<()> {
    for problem in &inspection.problems {
        writeln!(out, "problem: {}\n    fix: {}", problem.what, problem.fix)?;
    }
    Ok(())
}

/// For the exit code: an error when there are problems, which were told already.
fn without_problems(inspection: &Inspection) -> anyhow::Result<()> {
    let count = match inspection.problems.len() {
        0 => return Ok(()),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    anyhow::bail!("{} can't work with this host: {count}", inspection.file.display())
}

/// A grant as it could stand in the table of the plugin `name`.
fn example_grant(capability: &str, name: &str) -> String {
    let value = match capability {
        "sql" => format!("{{ default = \"sqlite:{name}.db\" }}"),
        "redis" => format!("{{ default = {{ url = \"redis://127.0.0.1:6379\", prefix = \"{name}:\" }} }}"),
        "keyvalue" => format!("{{ default = \"file:{name}.kv\" }}"),
        "http" => "[\"https://api.example.com\"]".into(),
        "secrets" => "{ default = \"env:SECRET\" }".into(),
        _ => "{ default = \"..\" }".into(),
    };
    format!("{capability} = {value}")
}

/// The line of the configuration that grants all of `capabilities`.
fn example_grants(capabilities: &[&str], name: &str) -> String {
    let grants: Vec<_> = capabilities.iter().map(|capability| example_grant(capability, name)).collect();
    format!("grants = {{ {} }}", grants.join(", "))
}
