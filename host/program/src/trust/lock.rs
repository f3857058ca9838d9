//! `plugins.lock`, beside the plugins: what was installed from where, with its digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The file in the folder of the plugins.
pub const FILE: &str = "plugins.lock";
/// The file beside it that is locked while it changes. The other is replaced as a whole, so a lock of that one would be one of a file
/// that is gone.
const GUARD_FILE: &str = ".plugins.lock.guard";
const VERSION: u32 = 1;
const HEADER: &str = "# Written by `reflow-tracing plugin install`. Keep it with the configuration.\n";

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    #[serde(default)]
    plugin: BTreeMap<String, Locked>,
}

/// The right to change the lock of a folder, which one process has at a time. It ends with its value, or with the process.
pub struct Guard(#[expect(dead_code, reason = "it is held")] File);

/// A plugin that was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Where it is from: `oci://HOST/NAME:TAG`.
    pub source: String,
    /// The digest of its manifest.
    pub manifest: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub sha256: String,
}

impl Lock {
    /// Reads the lock of this folder. Without a file, nothing is locked.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let file = folder.join(FILE);
        let failed = |problem: &dyn std::fmt::Display| {
            format!("{}: {problem}; restore the file, or remove it and install the plugins again", file.display())
        };
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, plugin: BTreeMap::new() });
            }
            Err(error) => return Err(format!("can't read {}: {error}", file.display())),
        };
        let lock: Self = toml::from_str(&text).map_err(|error| failed(&error.to_string().trim_end()))?;
        if lock.version != VERSION {
            return Err(failed(&format!("it has version {}, but this program reads version {VERSION}", lock.version)));
        }
        Ok(lock)
    }

    /// Reads the lock of this folder to change it. Waits while another process changes it.
    pub fn read_to_change(folder: &Path) -> Result<(Self, Guard), String> {
        let file = folder.join(GUARD_FILE);
        let locked = || {
            let file = File::options().create(true).truncate(false).write(true).open(&file)?;
            file.lock()?;
            Ok(Guard(file))
        };
        let guard = locked().map_err(|error: io::Error| format!("can't lock {}: {error}", file.display()))?;
        Ok((Self::read(folder)?, guard))
    }

    /// The entry of a plugin.
    pub fn get(&self, name: &str) -> Option<&Locked> {
        self.plugin.get(name)
    }

    /// Replaces the entry of a plugin.
    pub fn set(&mut self, name: &str, locked: Locked) {
        self.plugin.insert(name.to_owned(), locked);
    }

    /// Writes the lock of this folder, as a whole or not at all.
    pub fn write(&self, folder: &Path, _guard: &Guard) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let mut options = tempfile::Builder::new();
        #[cfg(unix)]
        options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut temporary = options.prefix(".").suffix(".tmp").tempfile_in(folder)?;
        temporary.write_all(HEADER.as_bytes())?;
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(folder.join(FILE))?;
        Ok(())
    }

    /// Refuses a file of the plugin `name` that is not the one that was installed. A plugin without an entry was not installed but
    /// put there, and is not refused.
    pub fn check(&self, folder: &Path, name: &str, sha256: &str) -> Result<(), String> {
        match self.get(name) {
            Some(locked) if !locked.sha256.eq_ignore_ascii_case(sha256) => Err(format!(
                "its SHA-256 is {sha256}, but {} has {} for `{name}`. To restore that version, run `reflow-tracing plugin install \
                 {}`. If the file is right, remove [plugin.{name}] from the lock",
                folder.join(FILE).display(),
                locked.sha256,
                locked.pinned()
            )),
            _ => Ok(()),
        }
    }
}

impl Locked {
    /// The source with the digest of the manifest.
    fn pinned(&self) -> String {
        match self.source.contains('@') {
            true => self.source.clone(),
            false => format!("{}@{}", self.source, self.manifest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked() -> Locked {
        Locked { source: "oci://r.example/a/ledger:1.0".into(), manifest: "sha256:1".into(), sha256: "ab".into() }
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap().get("ledger"), None);
        let (mut lock, guard) = Lock::read_to_change(folder.path()).unwrap();
        lock.set("ledger", locked());
        lock.set("with.a dot", locked());
        lock.write(folder.path(), &guard).unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap(), lock);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a temporary file was left behind");
    }

    #[test]
    fn plugins_that_are_installed_at_the_same_time_all_have_their_entries() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..40).map(|number| format!("plugin-{number}")).collect();
        std::thread::scope(|scope| {
            for names in names.chunks(10) {
                let folder = folder.path();
                scope.spawn(move || {
                    for name in names {
                        let (mut lock, guard) = Lock::read_to_change(folder).unwrap();
                        lock.set(name, locked());
                        lock.write(folder, &guard).unwrap();
                    }
                });
            }
        });
        let lock = Lock::read(folder.path()).unwrap();
        let missing: Vec<_> = names.iter().filter(|name| lock.get(name).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_file_that_differs_is_refused_with_the_command_that_restores_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut lock = Lock::read(folder.path()).unwrap();
        lock.set("ledger", locked());
        let check = |name, sha256| lock.check(folder.path(), name, sha256);
        let refused = check("ledger", "cd").unwrap_err();
        for part in ["plugins.lock", "plugin install oci://r.example/a/ledger:1.0@sha256:1", "[plugin.ledger]"] {
            assert!(refused.contains(part), "{part:?} is missing in: {refused}");
        }
        assert_eq!(check("ledger", "AB"), Ok(()));
        assert_eq!(check("built-here", "cd"), Ok(()));
    }

    #[test]
    fn a_damaged_or_newer_lock_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for (text, problem) in
            [("version = 1\n[plugin.a]\nsorce = 1\n", "sorce"), ("version = 2\n", "version 2"), ("x", "x")]
        {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let error = Lock::read(folder.path()).unwrap_err();
            assert!(error.contains("plugins.lock") && error.contains(problem), "{error}");
        }
    }
}
