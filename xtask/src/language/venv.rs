//! Tools from PyPI, in a virtual environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{apt, process};

/// Runs pip in the environment in `folder`, which is made if it is missing. Returns the folder of its programs.
///
/// An installation does nothing when the pinned version is there.
pub fn with(folder: &Path, pip: &[&str]) -> Result<PathBuf> {
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
    let run = ["-m", "pip", "--quiet", "--disable-pip-version-check"];
    process::run(Command::new(&python).args(run).args(pip))?;
    Ok(programs)
}
