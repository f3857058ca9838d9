//! Puts a file into the plugins folder.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Copies `built` to `wanted`, atomically: a host never sees a partial file. A file with the same content is not touched, so a
/// host that watches it does not reload it.
pub(super) fn copy(built: &Path, wanted: &Path) -> anyhow::Result<()> {
    write(&fs::read(built).with_context(|| format!("can't read {}", built.display()))?, wanted)
}

/// The same with this content.
pub(super) fn write(content: &[u8], wanted: &Path) -> anyhow::Result<()> {
    if fs::read(wanted).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let failed = || format!("can't write {}", wanted.display());
    let folder = wanted.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(failed)?;
    let mut options = tempfile::Builder::new();
    #[cfg(unix)]
    options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // In the same folder: a rename is atomic only within a file system.
    let mut temporary = options.prefix(".").suffix(".tmp").tempfile_in(folder).with_context(failed)?;
    temporary.write_all(content).with_context(failed)?;
    temporary.persist(wanted).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_only_when_its_content_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (built, wanted) = (folder.path().join("built"), folder.path().join("plugins/wanted.wasm"));
        fs::write(&built, "one").unwrap();
        copy(&built, &wanted).unwrap();
        let modified = || fs::metadata(&wanted).unwrap().modified().unwrap();
        let first = modified();
        copy(&built, &wanted).unwrap();
        assert_eq!(modified(), first);
        fs::write(&built, "two").unwrap();
        copy(&built, &wanted).unwrap();
        assert_eq!(fs::read_to_string(&wanted).unwrap(), "two");
        assert_eq!(fs::read_dir(wanted.parent().unwrap()).unwrap().count(), 1, "a temporary file was left behind");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode(&wanted), mode(&built), "the file is as readable as any other");
        }
    }
}
