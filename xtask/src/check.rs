//! `cargo xtask check`: every check of the sources that does not run the product, cheap failures first.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::step::step;
use crate::workspace::{self, cargo};
use crate::{cargo_deny, plugins, process};

/// Features of the facade, each checked and tested alone. `""` is none.
const TESTED_ALONE: [&str; 7] = ["", "migration", "maintenance", "sqlite", "spool", "redis", "conformance"];
/// Features whose tests need servers or an engine: checked alone, and tested with the rest by `cargo xtask test`.
const CHECKED_ALONE: [&str; 3] = ["postgres", "clickhouse", "plugins"];
/// Backends that programs embed alone: none of them brings the WebAssembly engine.
const BACKENDS: [&str; 3] = ["sqlite", "postgres", "clickhouse"];
/// A program that keeps traces in memory compiles fewer packages than this.
const PACKAGES_OF_MEMORY: usize = 60;
/// Packages whose archives are compiled: together they have few dependencies.
const COMPILED: [&str; 3] = ["reflow-tracing-model", "reflow-tracing-storage", "reflow-tracing-memory"];
/// The package of the SDK.
const SDK: &str = "reflow-tracing-plugin";

/// The command.
pub fn main(arguments: &[String]) -> Result<()> {
    crate::no_arguments(arguments)?;
    let start = Instant::now();
    step("format", || process::run(&mut cargo(["fmt", "--all", "--check"])))?;
    step("dependencies of the library alone", dependencies_of_the_library_alone)?;
    step("licences and duplicates", cargo_deny::check)?;
    step("packages", packages)?;
    step("clippy", || {
        process::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    })?;
    step("doc", || process::run(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings")))?;
    // The workspace has all features on, so it never warns about code that only other features use.
    step("clippy of each feature alone", || {
        TESTED_ALONE.iter().chain(&CHECKED_ALONE).try_for_each(|feature| {
            let mut clippy = cargo(["clippy"]);
            process::run(clippy.args(facade(feature)).args(["--all-targets", "--", "--deny", "warnings"]))
        })
    })?;
    step("tests of each feature alone", || {
        TESTED_ALONE
            .iter()
            .try_for_each(|feature| process::run(cargo(["test"]).args(facade(feature)).args(["--test", "library"])))
    })?;
    println!("\nAll checked in {} s.", start.elapsed().as_secs());
    Ok(())
}

/// The facade with one feature.
fn facade(feature: &str) -> [&str; 5] {
    ["--package", "reflow-tracing", "--no-default-features", "--features", feature]
}

/// The packages that a program compiles with one feature of the facade.
fn packages_with(feature: &str) -> Result<BTreeSet<String>> {
    let mut tree = cargo(["tree", "--edges", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}"]);
    let packages: BTreeSet<String> =
        process::output(tree.args(facade(feature)))?.lines().map(|line| line.trim_end().to_owned()).collect();
    ensure!(packages.len() > 1, "cargo tree listed no packages: {packages:?}");
    Ok(packages)
}

fn dependencies_of_the_library_alone() -> Result<()> {
    let count = packages_with("")?.len();
    ensure!(
        count < PACKAGES_OF_MEMORY,
        "a program that keeps traces in memory compiles {count} packages, not under {PACKAGES_OF_MEMORY}; see\n  \
         cargo tree {} --edges normal",
        facade("").join(" "),
    );
    println!("memory alone: {count} packages");
    for backend in BACKENDS {
        let packages = packages_with(backend)?;
        let engine = packages.iter().find(|package| package.starts_with("wasmtime"));
        ensure!(
            engine.is_none(),
            "a program that embeds {backend} would compile {}; see\n  cargo tree {} --edges normal --invert wasmtime",
            engine.map_or("", String::as_str),
            facade(backend).join(" "),
        );
        println!("{backend} alone: {} packages, no engine", packages.len());
    }
    Ok(())
}

/// Makes the archive of each published package, and checks that it holds the files that every package needs. The archives of
/// [`COMPILED`] are also compiled. The others are not, because they would compile every database driver and the engine again:
/// a file that their sources include and their archives lack is found when they are published.
fn packages() -> Result<()> {
    let mut package = cargo(["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"]);
    for name in plugins::names()?.iter().map(String::as_str).chain(["xtask", "reflow-tracing-tests"]) {
        package.args(["--exclude", name]);
    }
    process::run(&mut package)?;
    let mut count = 0;
    for name in workspace::published()? {
        let listed = process::output(&mut cargo(["package", "--list", "--allow-dirty", "--package", &name]))?;
        let files: BTreeSet<&str> = listed.lines().collect();
        for file in ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            ensure!(files.contains(file), "the package {name} lacks {file}");
        }
        let contract = "wit/deps/storage/backend.wit";
        let has_contract = name == SDK || name == "reflow-tracing-plugin-host";
        ensure!(!has_contract || files.contains(contract), "the package {name} lacks {contract}");
        count += 1;
    }
    ensure!(count > 0, "no package is published");
    let mut compile = cargo(["package", "--allow-dirty", "--quiet"]);
    for name in COMPILED {
        compile.args(["--package", name]);
    }
    // Otherwise each archive has a target folder of its own, and compiles its dependencies again.
    let target = workspace::target().join("archives");
    forget_archives(&target)?;
    process::run(compile.env("CARGO_TARGET_DIR", target))?;
    println!("{count} packages, each with its README and licences");
    Ok(())
}

/// Lets cargo compile the archives again: it takes those of one version for the same, whatever they hold.
fn forget_archives(target: &Path) -> Result<()> {
    let fingerprints = target.join("debug/.fingerprint");
    let entries = match fs::read_dir(&fingerprints) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot read the folder {}", fingerprints.display()))?,
    };
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read the folder {}", fingerprints.display()))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("reflow-tracing-")) {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
