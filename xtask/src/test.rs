//! `cargo xtask test [-- ARGS]`: everything that must hold, cheap failures first.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::cargo;
use crate::{plugins, process, services, setup};

/// The backends that programs embed alone.
const BACKENDS: [&str; 3] = ["sqlite", "postgres", "clickhouse"];

/// What an embedder of one backend compiles.
fn library_alone(backend: &str) -> [&str; 5] {
    ["--package", "reflow-tracing", "--no-default-features", "--features", backend]
}

/// The command.
///
/// Whatever compiles the host does so with `--workspace`: cargo unites the features of the packages it is asked to build,
/// so `--package reflow-tracing` alone would compile the engine and the runtime a second time, with fewer features.
pub fn main(arguments: &[String]) -> Result<()> {
    let for_tests = match arguments.split_first() {
        None => &[],
        Some((separator, rest)) if separator == "--" => rest,
        Some((argument, _)) => bail!("unexpected argument `{argument}`; arguments for `cargo test` follow a `--`"),
    };
    let start = Instant::now();
    step("format", || process::run(&mut cargo(["fmt", "--all", "--check"])))?;
    step("no engine in the library alone", no_engine_in_the_library_alone)?;
    let toolchain = step("setup", || {
        services::ready()?;
        setup::ready()
    })?;
    step("clippy", || {
        process::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    })?;
    // Code that only other features use is a warning that the workspace, which has all features on, never shows.
    step("clippy of the library alone", || {
        BACKENDS.iter().try_for_each(|backend| {
            process::run(cargo(["clippy"]).args(library_alone(backend)).args(["--", "--deny", "warnings"]))
        })
    })?;
    step("doc", || process::run(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings")))?;
    step("plugins", || plugins::build_all(&toolchain))?;
    // The end-to-end tests start the host's binary, which `cargo test` does not build for another package's tests.
    step("host", build_host)?;
    step("test", || process::run(cargo(["test", "--workspace"]).args(for_tests)))?;
    println!("\nAll passed in {} s.", start.elapsed().as_secs());
    Ok(())
}

/// Builds the host's binary.
pub fn build_host() -> Result<()> {
    process::run(&mut cargo(["build", "--workspace", "--bin", "reflow-tracing"]))
}

fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = work().with_context(|| format!("the step `{name}` failed"))?;
    println!("{name}: {} s", start.elapsed().as_secs());
    Ok(outcome)
}

fn no_engine_in_the_library_alone() -> Result<()> {
    BACKENDS.into_iter().try_for_each(no_engine_with)
}

fn no_engine_with(backend: &str) -> Result<()> {
    let alone = library_alone(backend);
    let mut tree = cargo(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    tree.args(alone);
    let packages = process::output(&mut tree)?;
    let count = packages.lines().count();
    ensure!(count > 1, "cargo tree listed no packages: {packages}");
    if let Some(engine) = packages.lines().find(|package| package.starts_with("wasmtime")) {
        bail!(
            "a program that embeds one backend would compile {engine}; see\n  \
             cargo tree {} --edges normal --invert wasmtime",
            alone.join(" "),
        );
    }
    println!("no wasmtime in the {count} lines of `cargo tree {}`", alone.join(" "));
    Ok(())
}
