//! The command line of the program `reflow-tracing`.

mod arguments;
mod compile_plugin;
mod config_file;
mod copying;
mod doctor;
mod export;
mod filter;
mod get;
mod host;
mod import;
mod log;
mod machine;
mod migrate;
mod output;
mod plugin;
mod printable;
mod progress;
mod query;
mod recording;
mod replay;
mod retain;
mod schema;
mod serve;
mod source;
mod store;
mod table;
mod tail;
mod time;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use printable::{Place, Printable};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Stores the execution traces of Reflow programs, and answers queries about them
#[derive(Parser)]
#[command(name = "reflow-tracing", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant)] // Only one value exists.
enum Command {
    Serve(serve::Args),
    Query(query::Args),
    Get(get::Args),
    Tail(tail::Args),
    Replay(replay::Args),
    Retain(retain::Args),
    Migrate(migrate::Args),
    Export(export::Args),
    Import(import::Args),
    Schema(schema::Args),
    Doctor(doctor::Args),
    Plugin(plugin::Args),
    #[command(hide = true)]
    CompilePlugin(compile_plugin::Args),
}

/// Runs the program with the arguments of the process. The exit code is 0 on success, 1 on failure and 2 for invalid
/// arguments; `doctor` has one more.
pub fn main() -> ExitCode {
    let cli: Cli = match arguments::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if let Command::CompilePlugin(args) = &cli.command {
        return compile_plugin::run(args);
    }
    let (filter, ignored) = log_filter(&std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default());
    // Its own colours are all that the lines have: it escapes those in the text.
    let writer = match &cli.command {
        Command::Serve(_) => {
            let log = log::start();
            BoxMakeWriter::new(move || log.clone())
        }
        _ => BoxMakeWriter::new(|| Printable::new(std::io::stderr(), Place::ColouredLines)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer)
        // Lines that can't be written are lost. Reporting that on stderr would panic in the caller.
        .log_internal_errors(false)
        .init();
    for directive in ignored {
        tracing::warn!("ignoring an invalid directive in {}: {directive}", EnvFilter::DEFAULT_ENV);
    }
    let done = run(cli);
    log::finish();
    match done {
        Ok(code) => code,
        Err(error) => {
            // The reader may be gone; ignore the error.
            let _ = writeln!(output::stderr(), "error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// The filter for log lines, and the invalid directives, each with the reason. `from_env_lossy` would print them, and panic
/// when stderr can't be written.
fn log_filter(directives: &str) -> (EnvFilter, Vec<String>) {
    let mut ignored = Vec::new();
    let mut valid = Vec::new();
    for directive in directives.split(',').filter(|directive| !directive.trim().is_empty()) {
        match directive.parse::<Directive>() {
            Ok(_) => valid.push(directive),
            Err(error) => ignored.push(format!("{directive:?}: {error}")),
        }
    }
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    (builder.parse_lossy(valid.join(",")), ignored)
}

/// The error and its causes, one per line, without those that the line before already contains.
fn with_causes(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.ends_with(&cause) {
            message += &format!("\n  because: {cause}");
        }
    }
    message
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the threads of the program")?;
    runtime.block_on(async {
        let done = match cli.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Query(args) => query::run(args).await,
            Command::Get(args) => get::run(args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Replay(args) => replay::run(args).await,
            Command::Retain(args) => retain::run(args).await,
            Command::Migrate(args) => migrate::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Schema(args) => schema::run(args),
            Command::Doctor(args) => return doctor::run(args).await,
            Command::Plugin(args) => plugin::run(args).await,
            Command::CompilePlugin(args) => return Ok(compile_plugin::run(&args)),
        };
        done.map(|()| ExitCode::SUCCESS)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_printed_once() {
        let error = anyhow::anyhow!("refused").context("IO: refused").context("can't connect");
        assert_eq!(with_causes(&error), "can't connect\n  because: IO: refused");
    }
}
