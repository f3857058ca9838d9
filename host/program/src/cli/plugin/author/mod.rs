//! For authors: from a new folder to a component that passes the conformance suite. One file a language in `language/`.

mod bench;
mod bindings;
mod build;
mod dev;
mod interrupt;
mod language;
mod manifest;
mod name;
mod new;
mod test;

use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum Command {
    New(new::Args),
    Build(build::Args),
    Bindings(bindings::Args),
    Test(test::Args),
    Dev(dev::Args),
    Bench(bench::Args),
}

pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Bindings(args) => bindings::run(&args),
        Command::Test(args) => interrupt::until_interrupted(test::run(args)).await,
        Command::Dev(args) => interrupt::until_interrupted(dev::run(args)).await,
        Command::Bench(args) => interrupt::until_interrupted(bench::run(args)).await,
    }
}
