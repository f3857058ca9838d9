use std::process::ExitCode;

/// Compiles a component for a host, which starts this in a process of its own
#[derive(clap::Args)]
pub(super) struct Args {}

/// Runs without the threads and the log of the other subcommands, so that the limits of the process hold for all of it.
pub(super) fn run(_: &Args) -> ExitCode {
    reflow_tracing::plugin::run_compiler()
}
