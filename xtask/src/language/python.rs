//! Python: componentize-py, in a virtual environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::toolset::Toolset;
use super::venv;
use crate::process;

pub const TOOLSET: Toolset = Toolset { name: "python", plugins: &["keyvalue-python", "opensearch"], setup, test_sdk };

/// What the template of new plugins pins.
const REQUIREMENTS: &str = "sdk/python/template/requirements.txt";

fn setup(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(vec![venv::with(folder, &["install", "--requirement", REQUIREMENTS])?])
}

fn test_sdk(path: &OsString) -> Result<()> {
    // A plugin finds the SDK in its own folder, and its tests need no tools.
    for folder in ["sdk/python/tests", "plugins/opensearch"] {
        let mut tests = Command::new("python3");
        tests.args(["-m", "unittest", "discover", "--start-directory", folder]);
        process::run(tests.env("PATH", path).env("PYTHONPATH", "sdk/python").env("PYTHONDONTWRITEBYTECODE", "1"))?;
    }
    Ok(())
}
