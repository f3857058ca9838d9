//! The program `reflow-tracing`: the host process and its command line.
//!
//! [`cli`] parses the arguments and [`config`] loads the configuration. The subcommand `serve` starts the [`server`], whose
//! connections pass what they receive to [`ingest`].

mod cli;
mod config;
mod ingest;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
