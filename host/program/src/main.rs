//! The program `reflow-tracing`: the host process and its command line.
//!
//! [`cli`] parses the arguments and [`config`] loads the configuration. The subcommand `serve` starts the [`server`], whose
//! connections pass what they receive to [`ingest`], within a [`budget`]. Other subcommands are a [`client`] of a running host, or of a [`registry`] of
//! plugins. [`trust`] decides which files of plugins are loaded.

mod budget;
mod cli;
mod client;
mod config;
mod ingest;
mod registry;
mod server;
mod trust;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
