//! Installs a component into the plugins folder.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Copies `built` to `target` atomically, so that a host never sees half a file. Leaves an identical target unchanged, so that
/// a host does not reload without need.
pub(super) fn install(built: &Path, target: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(built).with_context(|| format!("can't read {}", built.display()))?;
    if fs::read(target).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let failed = || format!("can't write {}", target.display());
    let name = target.file_name().with_context(|| format!("{} is not the path of a file", target.display()))?;
    let name = name.to_string_lossy();
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(failed)?;
    // In the same folder, because a rename is atomic only within a file system.
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let replaced = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, target));
    if replaced.is_err() {
        // It may not even exist; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    replaced.with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_atomically_and_only_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (built, target) = (folder.path().join("built"), folder.path().join("plugins/wanted.wasm"));
        fs::write(&built, "one").unwrap();
        install(&built, &target).unwrap();
        let modified = || fs::metadata(&target).unwrap().modified().unwrap();
        let first = modified();
        install(&built, &target).unwrap();
        assert_eq!(modified(), first);
        fs::write(&built, "two").unwrap();
        install(&built, &target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "two");
        assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1, "a temporary file was left behind");
    }
}
