use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::{example_grants, fail_on_problems, install, summary, write_problems};
use crate::cli::{ConfigFile, output};
use reflow_tracing::plugin::{Inspection, inspect};

/// Compile the plugin in a folder, check it, and put it into the plugins folder
#[derive(clap::Args)]
pub(super) struct Args {
    /// The plugin's folder, with its Cargo.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to put the component [default: NAME.wasm in the plugins folder of the configuration]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The target to compile for. Core modules with an embedded world, as from wasm32-wasip1, work too
    #[arg(long, default_value = "wasm32-wasip2")]
    target: String,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let manifest = args.dir.join("Cargo.toml");
    ensure!(
        manifest.is_file(),
        "there is no {}: pass the folder of a plugin, or create one with `reflow-tracing plugin new`",
        manifest.display()
    );
    let folder = args.config.load()?.plugins.dir;
    check_target(&args.dir, &args.target)?;
    let built = cargo_build(&args.dir, &args.target)?;
    let inspection = inspect(&built.file)?;
    write_problems(&mut io::stderr(), &inspection)?;
    fail_on_problems(&inspection)?;
    let target = args.output.clone().unwrap_or_else(|| folder.join(format!("{}.wasm", built.name)));
    install::install(&built.file, &target)?;

    let installed = Inspection { file: target, ..inspection };
    output::print(|out| {
        writeln!(out, "{}", summary(&installed))?;
        let needs: Vec<_> = installed.needs_grants().collect();
        if !needs.is_empty() {
            writeln!(out, "to use it, add to the configuration:\n  [plugins.{}]", built.name)?;
            writeln!(out, "  {}", example_grants(&needs, &built.name))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Fails when the compiler for `folder` lacks the target, with the command that installs it.
fn check_target(folder: &Path, target: &str) -> anyhow::Result<()> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(folder).stdin(Stdio::null());
    let output = rustc.output().context("can't start rustc: install Rust, https://rustup.rs")?;
    ensure!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr).trim());
    let libraries = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        Path::new(&libraries).is_dir(),
        "the target {target} is not installed: install it with\n  rustup target add {target}"
    );
    Ok(())
}

struct Built {
    name: String,
    file: PathBuf,
}

/// A JSON message of cargo, reduced to the fields used here.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        filenames: Vec<PathBuf>,
        /// `path+file:///..#NAME@VERSION`, without the name when it is also the name of the folder.
        package_id: String,
    },
    #[serde(other)]
    Other,
}

fn cargo_build(folder: &Path, target: &str) -> anyhow::Result<Built> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--target", target, "--message-format", "json-render-diagnostics"]);
    let mut child = cargo
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("can't start cargo: install Rust, https://rustup.rs")?;
    let stdout = child.stdout.take().context("can't read the output of cargo")?;
    let manifest = folder
        .join("Cargo.toml")
        .canonicalize()
        .with_context(|| format!("can't find the folder {}", folder.display()))?;
    let mut built = None;
    for line in BufReader::new(stdout).lines() {
        // A build script may print anything.
        let Ok(Message::CompilerArtifact { manifest_path, filenames, package_id }) =
            serde_json::from_str(&line.context("can't read the output of cargo")?)
        else {
            continue;
        };
        let component =
            filenames.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
        if let Some(file) = component
            && manifest_path.canonicalize().is_ok_and(|path| path == manifest)
        {
            built = Some(Built { name: package_name(&package_id, folder), file });
        }
    }
    let status = child.wait().context("can't wait for cargo")?;
    ensure!(status.success(), "can't build the plugin in {}: cargo failed with {status}", folder.display());
    match built {
        Some(built) => Ok(built),
        None => bail!(
            "cargo built no WebAssembly for {}: set crate-type = [\"cdylib\"] in its `[lib]`",
            folder.join("Cargo.toml").display()
        ),
    }
}

/// The name in cargo's package id, which ends in `#NAME@VERSION`, or in `/NAME#VERSION` when the folder has the same name.
fn package_name(id: &str, folder: &Path) -> String {
    let (path, end) = id.rsplit_once('#').unwrap_or((id, ""));
    let name = end.split_once('@').map(|(name, _)| name).or_else(|| path.rsplit('/').next());
    name.map_or_else(|| folder.display().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_from_the_identifier_of_the_package() {
        let name = |id| package_name(id, Path::new("."));
        assert_eq!(name("path+file:///home/a/ledger#0.1.0"), "ledger");
        assert_eq!(name("path+file:///home/a/folder#my-store@0.1.0"), "my-store");
    }
}
