//! Compiled code on disk, so that a start does not compile what was compiled before.
//!
//! Compiled code is trusted like the program itself. So the folder must be the user's own, closed to others; each entry
//! carries its digest, and one that is damaged is compiled anew.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// How long an entry that nobody uses is kept: versions of plugins and of this program come and go.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const DIGEST_BYTES: usize = 32;

pub(crate) struct CompiledCache {
    folder: PathBuf,
}

impl CompiledCache {
    /// The cache in `folder`, which is made when it is missing. Fails when others than its owner may write there.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        make_private(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The compiled component of these bytes, whose SHA-256 is `sha256`, and whether it was there. Whatever is wrong with
    /// the cache only costs the time of compiling.
    pub(super) fn compiled(&self, engine: &Engine, sha256: &str, bytes: &[u8]) -> wasmtime::Result<(Component, bool)> {
        let file = self.folder.join(format!("{sha256}-{:016x}.cwasm", settings(engine)));
        match read(&file) {
            Ok(Some(code)) => {
                // SAFETY: only who may write to this folder, which is the user that this program runs as, can have put code
                // there, and the digest shows that it is what this program wrote.
                match unsafe { Component::deserialize(engine, code) } {
                    Ok(component) => return Ok((component, true)),
                    Err(error) => tracing::warn!("{}: {error:#}; compiling anew", file.display()),
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("{}: {error}; compiling anew", file.display()),
        }
        let component = Component::new(engine, bytes)?;
        let written = component.serialize().map_err(io::Error::other).and_then(|code| self.write(&file, &code));
        if let Err(error) = written {
            tracing::warn!("{}: can't keep the compiled code: {error}", file.display());
        }
        Ok((component, false))
    }

    /// Whole or not at all.
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
            // It may not even be there; the first error is the one to tell.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes what was not used for long.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let unused = entry.metadata().and_then(|entry| entry.modified()).ok().and_then(|used| used.elapsed().ok());
            if unused.is_some_and(|unused| unused > KEPT) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What compiled code depends on, beside what was compiled: the engine's version, its settings, the processor.
fn settings(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// The code in `file`; `None` when there is no such file. Fails on one that is damaged.
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
    // Used just now. Where that can't be written down, the entry is only swept early.
    let _ = entry.set_modified(SystemTime::now());
    Ok(Some(code))
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::metadata(folder)?;
    // What was just made in it belongs to whom this program runs as.
    let probe = tempfile_owner(folder)?;
    if found.uid() != probe || found.permissions().mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others may write to this folder; compiled code can be kept only where nobody else can put any (chmod 700)",
        ));
    }
    Ok(())
}

/// The user that files in `folder` are made as.
#[cfg(unix)]
fn tempfile_owner(folder: &Path) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;

    let probe = folder.join(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let owner = File::create_new(&probe)?.metadata()?.uid();
    fs::remove_file(&probe)?;
    Ok(owner)
}

/// Elsewhere a user's folders are the user's own.
#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::engine;

    /// The least that is a component.
    const EMPTY: &[u8] = &[0, b'a', b's', b'm', 0x0d, 0, 1, 0];

    fn only_entry(folder: &Path) -> PathBuf {
        let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [entry] = entries.as_slice() else { panic!("one entry, not {entries:?}") };
        entry.clone()
    }

    #[test]
    fn what_was_compiled_once_is_found_until_content_or_settings_change() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(&folder.path().join("a/b")).unwrap();
        let compiled = |stack_kb, sha256| cache.compiled(&engine(stack_kb).unwrap(), sha256, EMPTY).unwrap().1;
        assert!(!compiled(1024, "one"));
        assert!(compiled(1024, "one"));
        assert!(!compiled(1024, "two"));
        assert!(compiled(1024, "two"));
    }

    #[test]
    fn a_damaged_entry_is_compiled_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        let engine = engine(1024).unwrap();
        cache.compiled(&engine, "one", EMPTY).unwrap();
        let entry = only_entry(folder.path());
        let whole = fs::read(&entry).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [&whole[..whole.len() - 1], &whole[..10], b"", &flipped] {
            fs::write(&entry, damaged).unwrap();
            assert!(!cache.compiled(&engine, "one", EMPTY).unwrap().1, "{} bytes", damaged.len());
            assert!(cache.compiled(&engine, "one", EMPTY).unwrap().1, "it must be mended");
        }
        assert_eq!(only_entry(folder.path()), entry);
    }

    #[test]
    fn code_of_another_program_is_compiled_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        let engine = engine(1024).unwrap();
        cache.compiled(&engine, "one", EMPTY).unwrap();
        let entry = only_entry(folder.path());
        cache.write(&entry, b"not from this engine").unwrap();
        assert!(!cache.compiled(&engine, "one", EMPTY).unwrap().1);
        assert!(cache.compiled(&engine, "one", EMPTY).unwrap().1);
    }

    #[test]
    fn an_entry_that_nobody_used_for_long_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        let old = folder.path().join("old.cwasm");
        fs::write(&old, "").unwrap();
        File::options().write(true).open(&old).unwrap().set_modified(SystemTime::now() - KEPT * 2).unwrap();
        cache.compiled(&engine(1024).unwrap(), "one", EMPTY).unwrap();
        assert!(!old.exists());
        only_entry(folder.path());
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = CompiledCache::open(folder.path()).err().unwrap();
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
}
