//! The subcommands for authors and operators of plugins: `reflow-tracing plugin ..`.

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

/// The plugin's name according to its file: `ledger` for `plugins/ledger.wasm`.
fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A one-line summary of the file.
fn summary(inspection: &Inspection) -> String {
    let contract = match &inspection.contract {
        Some(version) => format!("for contract {version}"),
        None => "not a storage plugin".into(),
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

/// Fails when there are problems, for the exit code. They were printed already.
fn fail_on_problems(inspection: &Inspection) -> anyhow::Result<()> {
    let count = match inspection.problems.len() {
        0 => return Ok(()),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    anyhow::bail!("{} can't run on this host: {count}", inspection.file.display())
}

/// An example of a grant in the table of the plugin `name`.
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

/// An example of a line that grants all `capabilities`.
fn example_grants(capabilities: &[&str], name: &str) -> String {
    let grants: Vec<_> = capabilities.iter().map(|capability| example_grant(capability, name)).collect();
    format!("grants = {{ {} }}", grants.join(", "))
}
