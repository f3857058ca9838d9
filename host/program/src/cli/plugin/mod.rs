//! `reflow-tracing plugin ..`, for authors and operators of plugins.

mod bench;
mod bindings;
mod build;
mod check;
mod dev;
mod explain;
mod inspect;
mod install;
mod language;
mod list;
mod manifest;
mod name;
mod new;
mod place;
mod publish;
mod report;
mod sign;
mod test;

use clap::Subcommand;

/// Write, check, test, publish, install and list plugins
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
    Explain(explain::Args),
    Test(test::Args),
    Dev(dev::Args),
    Bench(bench::Args),
    Sign(sign::Args),
    Publish(publish::Args),
    Install(install::Args),
    List(list::Args),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Bindings(args) => bindings::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Explain(args) => explain::run(args).await,
        Command::Test(args) => test::run(args).await,
        Command::Dev(args) => dev::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Sign(args) => sign::run(&args),
        Command::Publish(args) => publish::run(args).await,
        Command::Install(args) => install::run(args).await,
        Command::List(args) => list::run(&args).await,
    }
}
