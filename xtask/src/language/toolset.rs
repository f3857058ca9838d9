//! What a language needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// The tools of a language, or of several that share them.
pub struct Toolset {
    /// What `--lang` calls it.
    pub name: &'static str,
    /// Its plugins in `plugins/`.
    pub plugins: &'static [&'static str],
    /// Installs the tools into a folder of their own, where they are missing. Returns the folders to put on the PATH.
    pub setup: fn(&Path) -> Result<Vec<PathBuf>>,
    /// Runs the tests of its SDK, with the tools on this PATH.
    pub test_sdk: fn(&OsString) -> Result<()>,
}
