//! TypeScript and JavaScript: the packages that the templates pin, from npm.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::toolset::Toolset;
use crate::{apt, process};

pub const TOOLSET: Toolset =
    Toolset { name: "javascript", plugins: &["keyvalue-typescript", "webhook"], setup, test_sdk };

/// What new plugins pin.
const PACKAGE: &str = "sdk/javascript/template/typescript/package.json";

fn setup(folder: &Path) -> Result<Vec<PathBuf>> {
    if !process::on_path("npm") {
        apt::install(&["nodejs", "npm"], |_| true)?;
    }
    let package = fs::read_to_string(PACKAGE).with_context(|| format!("cannot read {PACKAGE}"))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join("package.json");
    fs::write(&file, package.replace("{{name}}", "tools"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    // Quick when the pinned versions are there.
    let mut install = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    process::run(install.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(folder))?;
    Ok(vec![folder.join("node_modules/.bin")])
}

fn test_sdk(path: &OsString) -> Result<()> {
    let mut tests = Command::new("node");
    tests.args(["--import", "./testing/register.js", "--test"]);
    for name in ["errors", "events", "stack", "values"] {
        tests.arg(format!("test/{name}.test.js"));
    }
    process::run(tests.current_dir("sdk/javascript").env("PATH", path))
}
