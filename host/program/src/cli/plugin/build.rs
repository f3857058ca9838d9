use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::place;
use super::report::{example_grants, summary, without_problems, write_problems};
use crate::cli::config_file::ConfigFile;
use crate::cli::output;
use reflow_tracing::plugin::{Inspection, inspect};

/// Compile the plugin in a folder, check it, and install it in the plugins folder
#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of the plugin, with its Cargo.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The file to write [default: NAME.wasm in the configured plugins folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The target to compile for; one that yields core modules with an embedded world, such as wasm32-wasip1, works too
    #[arg(long, default_value = "wasm32-wasip2")]
    target: String,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let manifest = args.dir.join("Cargo.toml");
    ensure!(
        manifest.is_file(),
        "{} does not exist: give the folder of a plugin, or create one with `reflow-tracing plugin new`",
        manifest.display()
    );
    let folder = args.config.load()?.plugins.dir;
    has_target(&args.dir, &args.target)?;
    let built = cargo_build(&args.dir, &args.target)?;
    let inspection = inspect(&built.file)?;
    write_problems(&mut output::stderr(), &inspection)?;
    without_problems(&inspection)?;
    let wanted = args.output.clone().unwrap_or_else(|| folder.join(format!("{}.wasm", built.name)));
    place::copy(&built.file, &wanted)?;

    let installed = Inspection { file: wanted, ..inspection };
    output::print(|out| {
        writeln!(out, "{}", summary(&installed))?;
        let usable: Vec<_> = installed.may_use().collect();
        if !usable.is_empty() {
            writeln!(out, "to use it, add to the configuration:\n  [plugins.{}]", built.name)?;
            writeln!(out, "  {}", example_grants(&usable, &built.name))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Fails when the compiler for `folder` does not have the target. The error gives the command that installs it.
fn has_target(folder: &Path, target: &str) -> anyhow::Result<()> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(folder).stdin(Stdio::null());
    let output = rustc.output().context("can't start rustc: is Rust installed? See https://rustup.rs")?;
    ensure!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr).trim());
    let libraries = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        Path::new(&libraries).is_dir(),
        "the compiler has no target {target}: install it with\n  rustup target add {target}"
    );
    Ok(())
}

struct Built {
    name: String,
    file: PathBuf,
}

/// A message of cargo, as far as this program needs it.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        filenames: Vec<PathBuf>,
        /// `path+file:///..#NAME@VERSION`, or without the name when the folder has the same name.
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
        .context("can't start cargo: is Rust installed? See https://rustup.rs")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let manifest =
        folder.join("Cargo.toml").canonicalize().with_context(|| format!("can't find {}", folder.display()))?;
    let mut built = None;
    for line in BufReader::new(stdout).lines() {
        // A build script may print other lines.
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
    let status = child.wait().context("can't wait for cargo to end")?;
    ensure!(status.success(), "can't build the plugin in {}: cargo ended with {status}", folder.display());
    match built {
        Some(built) => Ok(built),
        None => bail!(
            "cargo built no WebAssembly file from {}: set crate-type = [\"cdylib\"] in its `[lib]`",
            folder.join("Cargo.toml").display()
        ),
    }
}

/// Cargo's identifier of a package ends in `#NAME@VERSION`, or in `/NAME#VERSION` when its folder has the same name.
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
