//! `reflow-tracing plugin ..`, for authors and operators of plugins.

mod bindings;
mod build;
mod check;
mod inspect;
mod install;
mod language;
mod list;
mod manifest;
mod name;
mod new;
mod report;
mod test;

use clap::Subcommand;

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
    Bindings(bindings::Args),
    Check(check::Args),
    Inspect(inspect::Args),
    Test(test::Args),
    List(list::Args),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Bindings(args) => bindings::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Test(args) => test::run(args).await,
        Command::List(args) => list::run(&args).await,
    }
}
