//! Free disk space: how much there is, and whether a write fits.
//!
//! A small write into the database proves nothing: a rolled back transaction may never reach the disk, and a committed one may
//! fit into the existing log. So the check writes an unnamed temporary file in the same folder.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use reflow_tracing_storage::StorageError;

/// The space that must be free: a typical transaction of events, including its indexes.
const ROOM: usize = 256 * 1024;

/// Fails with [`StorageError::Exhausted`] if the disk or a quota has no space for a write into `database`. Blocks.
pub fn check_room(database: &Path) -> Result<(), StorageError> {
    let file = real(database);
    // The file and its folder may not exist yet.
    let absolute = std::path::absolute(&file);
    let folder = absolute.as_deref().unwrap_or(&file).ancestors().skip(1).find(|folder| folder.is_dir());
    let Some(folder) = folder else { return Ok(()) };
    let written = tempfile::tempfile_in(folder).and_then(|mut probe| probe.write_all(&noise(ROOM)));
    let Err(error) = written else { return Ok(()) };
    let of = file.display();
    match error.kind() {
        _ if is_full(&error) => Err(StorageError::Exhausted(format!(
            "the disk of {of} is full: {} KiB could not be written to {}: {error}",
            ROOM / 1024,
            folder.display()
        ))),
        ErrorKind::ReadOnlyFilesystem => Err(StorageError::Configuration(format!("{of} can't be written: {error}"))),
        // SQLite may have opened all files that it needs.
        ErrorKind::PermissionDenied => Ok(()),
        _ => Err(StorageError::Unavailable(format!("can't write to the disk of {of}: {error}"))),
    }
}

/// The file of a database: SQLite follows a symbolic link and keeps its other files beside the target.
pub(crate) fn real(database: &Path) -> PathBuf {
    database.canonicalize().unwrap_or_else(|_| database.to_owned())
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The free bytes of the disk of an existing file; `None` where the system doesn't say.
pub(crate) fn available(file: &Path) -> Option<u64> {
    #[cfg(unix)]
    return rustix::fs::statvfs(file)
        .ok()
        .filter(|disk| disk.f_blocks > 0)
        .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    #[cfg(not(unix))]
    return None;
}

/// Bytes that no file system can compress.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..bytes / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_room_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        check_room(&folder.path().join("t.db")).unwrap();
        check_room(&folder.path().join("not/there/yet/t.db")).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
