//! Whether the disk of a file takes more.
//!
//! A transaction that is rolled back may never reach the disk, and one that is committed may fit into what the log has already.
//! So a file without a name is written beside the database and forgotten: it needs what a write needs, and nobody sees it.

use std::io::{ErrorKind, Write};
use std::path::Path;

use reflow_tracing_storage::StorageError;

/// What has to be free: a transaction with events of a common size, its indexes included.
const ROOM: usize = 256 * 1024;

/// Fails as [`StorageError::Exhausted`] where the disk, or a quota, has no room for a write into `database`. Blocks.
pub fn check_room(database: &Path) -> Result<(), StorageError> {
    // What SQLite keeps beside the file is where a link leads.
    let file = database.canonicalize();
    let file = file.as_deref().unwrap_or(database);
    // A file that is yet to be created may be in a folder that is too.
    let absolute = std::path::absolute(file);
    let folder = absolute.as_deref().unwrap_or(file).ancestors().skip(1).find(|folder| folder.is_dir());
    let Some(folder) = folder else { return Ok(()) };
    let written = tempfile::tempfile_in(folder).and_then(|mut probe| probe.write_all(&noise()));
    let Err(error) = written else { return Ok(()) };
    let of = file.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Err(StorageError::Exhausted(format!(
            "the disk of {of} is full: {} KiB could not be written to {}: {error}",
            ROOM / 1024,
            folder.display()
        ))),
        ErrorKind::ReadOnlyFilesystem => Err(StorageError::Configuration(format!("{of} can't be written: {error}"))),
        // SQLite may have all the files that it needs.
        ErrorKind::PermissionDenied => Ok(()),
        _ => Err(StorageError::Unavailable(format!("the disk of {of} takes nothing: {error}"))),
    }
}

/// Bytes that a file system does not compress.
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..ROOM / 8).flat_map(|_| {
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
