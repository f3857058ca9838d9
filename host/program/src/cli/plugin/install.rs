//! Putting a component where a host looks for it.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Brings `wanted` to the content of `built`. A host that looks into the folder never sees half a file, and one that watches
/// it is not woken without reason: a file that has this content already is left alone.
pub(super) fn install(built: &Path, wanted: &Path) -> anyhow::Result<()> {
    let content = fs::read(built).with_context(|| format!("can't read {}", built.display()))?;
    if fs::read(wanted).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let failed = || format!("can't write {}", wanted.display());
    let name = wanted.file_name().context("the file to write has no name")?.to_string_lossy();
    let folder = wanted.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(failed)?;
    // In the same folder, since a rename is atomic only within a file system.
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let replaced = fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, wanted));
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
    fn a_file_is_replaced_as_a_whole_and_only_when_its_content_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (built, wanted) = (folder.path().join("built"), folder.path().join("plugins/wanted.wasm"));
        fs::write(&built, "one").unwrap();
        install(&built, &wanted).unwrap();
        let modified = || fs::metadata(&wanted).unwrap().modified().unwrap();
        let first = modified();
        install(&built, &wanted).unwrap();
        assert_eq!(modified(), first);
        fs::write(&built, "two").unwrap();
        install(&built, &wanted).unwrap();
        assert_eq!(fs::read_to_string(&wanted).unwrap(), "two");
        assert_eq!(fs::read_dir(wanted.parent().unwrap()).unwrap().count(), 1, "a temporary file was left behind");
    }
}
