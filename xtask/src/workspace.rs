//! Where things are, and cargo as a child process. Every command works in the workspace's root.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

/// The workspace's root. The variable is what cargo says now; the constant is where this program was compiled.
pub fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(package);
    root.pop();
    root
}

/// The packages that are published, by name: those whose `Cargo.toml` does not forbid it.
pub fn published() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in ["host", "host/backends", "sdk"] {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read the folder {folder}"))? {
            let manifest = entry.with_context(|| format!("cannot read the folder {folder}"))?.path().join("Cargo.toml");
            if !manifest.is_file() {
                continue;
            }
            let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
            if text.lines().any(|line| line == "publish = false") {
                continue;
            }
            let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
            names.push(name.with_context(|| format!("{} names no package", manifest.display()))?.to_owned());
        }
    }
    Ok(names)
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// The host as `cargo build` leaves it.
pub fn host_binary() -> PathBuf {
    target().join("debug").join(format!("reflow-tracing{}", env::consts::EXE_SUFFIX))
}

/// The cargo that started this program, with what `cargo run` told about xtask removed: build scripts see the same
/// environment as under a cargo that was started by hand, so neither rebuilds what the other has built.
pub fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let told = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_MANIFEST_LINKS"].contains(&name)
        });
        if told {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}
