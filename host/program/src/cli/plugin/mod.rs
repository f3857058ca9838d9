//! `reflow-tracing plugin ..`: what authors do in `author/`; beside it, what operators do with a component.

mod author;
mod check;
mod explain;
mod inspect;
mod install;
mod list;
mod place;
mod publish;
mod report;
mod sign;

use clap::Subcommand;

/// Write, check, test, publish, install and list plugins
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Author(author::Command),
    Check(check::Args),
    Inspect(inspect::Args),
    Explain(explain::Args),
    Sign(sign::Args),
    Publish(publish::Args),
    Install(install::Args),
    List(list::Args),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Author(command) => author::run(command).await,
        Command::Check(args) => check::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Explain(args) => explain::run(args).await,
        Command::Sign(args) => sign::run(&args),
        Command::Publish(args) => publish::run(args).await,
        Command::Install(args) => install::run(args).await,
        Command::List(args) => list::run(&args).await,
    }
}
