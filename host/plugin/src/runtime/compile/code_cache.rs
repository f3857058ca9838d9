//! A cache of compiled code on disk, so that a restart does not compile again.
//!
//! Compiled code is trusted like the program itself, so only the host's user may write to the folder. Each entry carries its
//! digest; a damaged entry is compiled again.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Entries unused for this long are deleted, because updates of plugins and of this program leave old entries behind.
const MAX_UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const DIGEST_BYTES: usize = 32;

pub(in crate::runtime) struct CodeCache {
    folder: PathBuf,
}

impl CodeCache {
    /// Opens the cache in `folder`, which is created when missing. Fails when other users may write there.
    pub(in crate::runtime) fn open(folder: &Path) -> io::Result<Self> {
        make_private(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    pub(in crate::runtime) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The compiled component whose SHA-256 is `sha256`, and whether it came from the cache. An unusable cache only costs the
    /// time to `compile`.
    pub(in crate::runtime) fn compiled(
        &self,
        engine: &Engine,
        sha256: &str,
        compile: impl FnOnce() -> wasmtime::Result<Vec<u8>>,
    ) -> wasmtime::Result<(Component, bool)> {
        let file = self.folder.join(format!("{sha256}-{:016x}.cwasm", code_version(engine)));
        match read(&file) {
            Ok(Some(code)) => {
                // SAFETY: only the user that this program runs as may write to the folder, and the digest shows that the entry
                // is what this program wrote.
                match unsafe { Component::deserialize(engine, code) } {
                    Ok(component) => return Ok((component, true)),
                    Err(error) => {
                        tracing::warn!("can't load compiled code from {}: {error:#}; compiling again", file.display())
                    }
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("can't read compiled code from {}: {error}; compiling again", file.display()),
        }
        let code = compile()?;
        if let Err(error) = self.write(&file, &code) {
            tracing::warn!("can't write compiled code to {}: {error}", file.display());
        }
        // SAFETY: the code was compiled just now.
        Ok((unsafe { Component::deserialize(engine, code) }?, false))
    }

    /// Writes an entry atomically.
    fn write(&self, file: &Path, code: &[u8]) -> io::Result<()> {
        self.sweep();
        let temporary = file.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
        let written = File::create_new(&temporary).and_then(|mut entry| {
            entry.write_all(&Sha256::digest(code))?;
            entry.write_all(code)?;
            entry.sync_all()?;
            fs::rename(&temporary, file)
        });
        if written.is_err() {
            // It may not exist; the first error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Deletes entries that were not used for [`MAX_UNUSED`].
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let unused = entry.metadata().and_then(|entry| entry.modified()).ok().and_then(|used| used.elapsed().ok());
            if unused.is_some_and(|unused| unused > MAX_UNUSED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A hash of what compiled code depends on beside its source: the engine's version and settings, the processor.
fn code_version(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Reads the code in `file`; `None` when the file does not exist. Fails on a damaged file.
fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut entry = match File::open(file) {
        Ok(entry) => entry,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut digest = [0; DIGEST_BYTES];
    let mut code = Vec::new();
    entry.read_exact(&mut digest)?;
    entry.read_to_end(&mut code)?;
    if Sha256::digest(&code).as_slice() != digest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the entry is damaged"));
    }
    // Marks the entry as used. If that fails, the entry is only deleted earlier.
    let _ = entry.set_modified(SystemTime::now());
    Ok(Some(code))
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::metadata(folder)?;
    let own = process_owner(folder)?;
    if found.uid() != own || found.permissions().mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "other users may write to this folder, so compiled code in it can't be trusted; run chmod 700 on it",
        ));
    }
    Ok(())
}

/// The user that this process runs as, taken from a new file in `folder`.
#[cfg(unix)]
fn process_owner(folder: &Path) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;

    let probe = folder.join(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let owner = File::create_new(&probe)?.metadata()?.uid();
    fs::remove_file(&probe)?;
    Ok(owner)
}

/// On other systems, a user's folders are private by default.
#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::engine::engine;

    /// The smallest component.
    const EMPTY: &[u8] = &[0, b'a', b's', b'm', 0x0d, 0, 1, 0];

    fn compile(stack_kb: u32) -> wasmtime::Result<Vec<u8>> {
        engine(stack_kb)?.precompile_component(EMPTY)
    }

    fn only_entry(folder: &Path) -> PathBuf {
        let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [entry] = entries.as_slice() else { panic!("one entry, not {entries:?}") };
        entry.clone()
    }

    #[test]
    fn an_entry_is_found_until_the_component_or_the_engine_changes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&folder.path().join("a/b")).unwrap();
        let compiled =
            |stack_kb, sha256| cache.compiled(&engine(stack_kb).unwrap(), sha256, || compile(stack_kb)).unwrap().1;
        assert!(!compiled(1024, "one"));
        assert!(compiled(1024, "one"));
        assert!(!compiled(1024, "two"));
        assert!(compiled(1024, "two"));
    }

    #[test]
    fn a_damaged_entry_is_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(folder.path()).unwrap();
        let engine = engine(1024).unwrap();
        cache.compiled(&engine, "one", || compile(1024)).unwrap();
        let entry = only_entry(folder.path());
        let whole = fs::read(&entry).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [&whole[..whole.len() - 1], &whole[..10], b"", &flipped] {
            fs::write(&entry, damaged).unwrap();
            assert!(!cache.compiled(&engine, "one", || compile(1024)).unwrap().1, "{} bytes", damaged.len());
            assert!(cache.compiled(&engine, "one", || compile(1024)).unwrap().1, "the entry was not replaced");
        }
        assert_eq!(only_entry(folder.path()), entry);
    }

    #[test]
    fn code_of_another_engine_is_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(folder.path()).unwrap();
        let engine = engine(1024).unwrap();
        cache.compiled(&engine, "one", || compile(1024)).unwrap();
        let entry = only_entry(folder.path());
        cache.write(&entry, b"not from this engine").unwrap();
        assert!(!cache.compiled(&engine, "one", || compile(1024)).unwrap().1);
        assert!(cache.compiled(&engine, "one", || compile(1024)).unwrap().1);
    }

    #[test]
    fn an_entry_unused_for_long_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(folder.path()).unwrap();
        let old = folder.path().join("old.cwasm");
        fs::write(&old, "").unwrap();
        File::options().write(true).open(&old).unwrap().set_modified(SystemTime::now() - MAX_UNUSED * 2).unwrap();
        cache.compiled(&engine(1024).unwrap(), "one", || compile(1024)).unwrap();
        assert!(!old.exists());
        only_entry(folder.path());
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_other_users_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = CodeCache::open(folder.path()).err().unwrap();
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
}
