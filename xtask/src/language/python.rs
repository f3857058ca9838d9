//! Python: componentize-py, in a virtual environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::toolset::Toolset;
use crate::{apt, process};

pub const TOOLSET: Toolset = Toolset { name: "python", plugins: &["keyvalue-python"], setup, test_sdk };

/// What the template of new plugins pins.
const REQUIREMENTS: &str = "sdk/python/template/requirements.txt";

fn setup(folder: &Path) -> Result<Vec<PathBuf>> {
    let programs = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let python = programs.join("python");
    if !python.is_file() {
        ensure!(process::on_path("python3"), "python3 is missing: install it, 3.10 or newer");
        let venv = || process::run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        if venv().is_err() {
            // Debian has it in a package of its own.
            apt::install(&["python3-venv"], |_| true)?;
            venv()?;
        }
    }
    // Does nothing when the pinned version is there.
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS];
    process::run(Command::new(&python).args(install))?;
    Ok(vec![programs])
}

fn test_sdk(path: &OsString) -> Result<()> {
    let mut tests = Command::new("python3");
    tests.args(["-m", "unittest", "discover", "--start-directory", "sdk/python/tests"]);
    process::run(tests.env("PATH", path).env("PYTHONPATH", "sdk/python").env("PYTHONDONTWRITEBYTECODE", "1"))
}
