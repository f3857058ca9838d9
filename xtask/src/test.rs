//! `cargo xtask test [-- ARGS]`: builds the plugins and the host, and runs every test.

use std::ffi::OsString;
use std::num::NonZero;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::step::step;
use crate::workspace::cargo;
use crate::{plugins, process, services, setup};

/// The command.
pub fn main(arguments: &[String]) -> Result<()> {
    let for_tests = for_cargo_test(arguments)?;
    let start = Instant::now();
    build_what_tests_start()?;
    step("test", || process::run(for_workspace("test")?.args(for_tests).env(THREADS, threads())))?;
    println!("\nAll passed in {} s.", start.elapsed().as_secs());
    Ok(())
}

/// How many tests run at the same time.
const THREADS: &str = "RUST_TEST_THREADS";

/// What the environment says, or twice as many as there are processors: many tests wait for servers and processes.
fn threads() -> OsString {
    std::env::var_os(THREADS).unwrap_or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        (2 * processors).to_string().into()
    })
}

/// What follows a `--`.
pub fn for_cargo_test(arguments: &[String]) -> Result<&[String]> {
    match arguments.split_first() {
        None => Ok(&[]),
        Some((separator, rest)) if separator == "--" => Ok(rest),
        Some((argument, _)) => bail!("unexpected argument `{argument}`; arguments for `cargo test` follow a `--`"),
    }
}

/// Servers, plugins and the host: what the end-to-end tests start.
pub fn build_what_tests_start() -> Result<()> {
    let toolchain = step("setup", || {
        services::ready()?;
        setup::ready()
    })?;
    step("plugins", || plugins::build_all(&toolchain))?;
    // `cargo test` does not build the host's binary for another package's tests.
    step("host", build_host)
}

/// Builds the host's binary.
pub fn build_host() -> Result<()> {
    process::run(for_workspace("build")?.args(["--bin", "reflow-tracing"]))
}

/// A cargo command for every package but the plugins that have no tests of their own: those are for WebAssembly only.
///
/// Whatever compiles the host selects the same packages: cargo unites the features of what it is asked to build, so
/// another selection would compile the engine and the runtime a second time.
pub fn for_workspace(subcommand: &str) -> Result<Command> {
    let mut command = cargo([subcommand, "--workspace"]);
    for name in plugins::without_unit_tests()? {
        command.args(["--exclude", &name]);
    }
    Ok(command)
}
