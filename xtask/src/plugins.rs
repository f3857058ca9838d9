//! `cargo xtask plugins [NAME...]`: compiles the plugins' crates and puts each component beside its source folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::toolchain::Toolchain;
use crate::{process, setup, workspace};

/// Folders of plugins: those of the product, and those that the tests break things with.
const FOLDERS: [&str; 2] = ["plugins", "tests/plugins"];
const PROFILE: &str = "plugin";

/// The command.
pub fn main(names: &[String]) -> Result<()> {
    let plugins = find()?;
    let chosen: Vec<&Plugin> = plugins.iter().filter(|p| names.is_empty() || names.contains(&p.name)).collect();
    if let Some(unknown) = names.iter().find(|&name| plugins.iter().all(|p| p.name != *name)) {
        let known = plugins.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
        bail!("there is no plugin `{unknown}`; there are: {known}");
    }
    build(&setup::ready()?, &chosen)
}

/// Builds all plugins.
pub fn build_all(toolchain: &Toolchain) -> Result<()> {
    let plugins = find()?;
    build(toolchain, &plugins.iter().collect::<Vec<_>>())
}

/// A plugin's source: a folder with a Cargo.toml, whose package is named like the folder.
struct Plugin {
    name: String,
    source: PathBuf,
}

impl Plugin {
    /// Cargo's name for this package and no other; a plugin may be named like a crate that the host uses.
    fn package_id(&self) -> Result<String> {
        let source =
            fs::canonicalize(&self.source).with_context(|| format!("cannot find {}", self.source.display()))?;
        let path = source.to_string_lossy().replace('%', "%25").replace(' ', "%20").replace('#', "%23");
        Ok(format!("path+file://{path}"))
    }

    /// Where the component is wanted.
    fn component(&self) -> PathBuf {
        self.source.with_file_name(format!("{}.wasm", self.name))
    }
}

/// The packages of all plugins.
pub fn names() -> Result<Vec<String>> {
    Ok(find()?.into_iter().map(|plugin| plugin.name).collect())
}

/// Those that only WebAssembly needs to be compiled for: no test runs natively.
pub fn without_unit_tests() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for plugin in find()? {
        if !has_unit_tests(&plugin.source.join("src"))? {
            names.push(plugin.name);
        }
    }
    Ok(names)
}

fn has_unit_tests(folder: &Path) -> Result<bool> {
    if !folder.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.path();
        let tests = if path.is_dir() {
            has_unit_tests(&path)?
        } else {
            fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?
                .contains("#[cfg(test)]")
        };
        if tests {
            return Ok(true);
        }
    }
    Ok(false)
}

fn find() -> Result<Vec<Plugin>> {
    let mut plugins = Vec::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read the folder {folder}"))?;
        for entry in entries {
            let source = entry.with_context(|| format!("cannot read the folder {folder}"))?.path();
            if source.join("Cargo.toml").is_file() {
                let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
                plugins.push(Plugin { name, source });
            }
        }
    }
    plugins.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(plugins)
}

fn build(toolchain: &Toolchain, plugins: &[&Plugin]) -> Result<()> {
    if plugins.is_empty() {
        return Ok(());
    }
    // A folder of its own: other compilers, flags and profiles never rebuild it, and its lock is not the host's.
    let target = workspace::target().join("plugins");
    // One call for all, so that the dependencies they share are compiled once. `cargo run` has brought the lock file up
    // to date before this program started.
    let mut cargo = workspace::cargo(["build", "--locked", "--profile", PROFILE]);
    cargo.arg("--target-dir").arg(&target);
    toolchain.configure(&mut cargo);
    for plugin in plugins {
        cargo.args(["--package", &plugin.package_id()?]);
    }
    process::run(&mut cargo)?;

    for plugin in plugins {
        let file = format!("{}.wasm", plugin.name.replace('-', "_"));
        let built = target.join(toolchain.target()).join(PROFILE).join(file);
        ensure!(
            built.is_file(),
            "building {} left no {}: its package must be named `{}` and be a `cdylib`",
            plugin.source.display(),
            built.display(),
            plugin.name,
        );
        let wanted = plugin.component();
        let changed = install(&built, &wanted)?;
        let kilobytes = fs::metadata(&wanted)?.len().div_ceil(1024);
        println!("{} ({kilobytes} KiB{})", wanted.display(), if changed { "" } else { ", unchanged" });
    }
    Ok(())
}

/// Brings `wanted` to the content of `built`, and says whether it had another. A host that watches the folder never sees
/// half a file, and is not woken without reason.
fn install(built: &Path, wanted: &Path) -> Result<bool> {
    let content = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    match fs::read(wanted) {
        Ok(present) if present == content => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", wanted.display())),
    }
    // In the same folder, since a rename is atomic only within a file system.
    let name = wanted.file_name().unwrap_or_default().to_string_lossy();
    let temporary = wanted.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let replaced = fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, wanted));
    if replaced.is_err() {
        // It may not even exist; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    replaced.with_context(|| format!("cannot write {}", wanted.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_when_its_content_changed() {
        let folder = std::env::temp_dir().join(format!("xtask-install-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (built, wanted) = (folder.join("built.wasm"), folder.join("wanted.wasm"));
        fs::write(&built, "one").unwrap();
        assert!(install(&built, &wanted).unwrap());
        let modified = fs::metadata(&wanted).unwrap().modified().unwrap();
        assert!(!install(&built, &wanted).unwrap());
        assert_eq!(fs::metadata(&wanted).unwrap().modified().unwrap(), modified);
        fs::write(&built, "two").unwrap();
        assert!(install(&built, &wanted).unwrap());
        assert_eq!(fs::read_to_string(&wanted).unwrap(), "two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "a temporary file was left behind");
        fs::remove_dir_all(&folder).unwrap();
    }
}
