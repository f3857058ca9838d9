//! The program `reflow-tracing`: the host process and its command line.
//!
//! [`cli`] reads what the user asks for and [`config`] what the operator says; `serve` starts the [`server`], whose
//! connections hand what they receive to [`ingest`].

mod cli;
mod config;
mod ingest;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
