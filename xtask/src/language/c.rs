//! C: Zig's compiler, from PyPI.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::toolset::Toolset;
use super::venv;
use crate::{process, workspace};

pub const TOOLSET: Toolset = Toolset { name: "c", plugins: &["keyvalue-c"], setup, test_sdk };

/// What `plugin build` tells authors to install.
const PACKAGE: &str = "ziglang==0.17.1";

/// The sources of each test, which runs natively.
const TESTS: [&[&str]; 2] = [
    &["sdk/arena.c", "sdk/bytes.c", "sdk/error.c", "sdk/keyvalue.c", "sdk/test/sdk_test.c"],
    &["sdk/arena.c", "sdk/bytes.c", "sdk/error.c", "src/header.c", "test/header_test.c"],
];

fn setup(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(vec![venv::with(folder, &["install", PACKAGE])?])
}

/// In the folder of a plugin, whose bindings the SDK is compiled with.
fn test_sdk(path: &OsString) -> Result<()> {
    let root = std::env::current_dir().context("the workspace is gone")?;
    let program = root.join(workspace::target()).join("tools/c/test");
    for sources in TESTS {
        let mut compile = Command::new("python-zig");
        compile.args(["cc", "-Isrc", "-Isdk", "-Ibindings", "-ffunction-sections", "-Wl,--gc-sections"]);
        // The bindings name imports in a way that native compilers warn of, and are not linked.
        compile.args(["-Wno-unknown-attributes", "-o"]).arg(&program).args(sources);
        process::run(compile.current_dir("plugins/keyvalue-c").env("PATH", path))?;
        process::run(&mut Command::new(&program))?;
    }
    Ok(())
}
