//! Room on the disk for what frees room: a file beside the database that is given up when the disk is full.
//!
//! SQLite can't delete without writing: the changes go to the log first, and from there to the database. So on a full disk
//! nothing could be deleted. The reserve is made once the database is as large as the reserve. From then on, what needs new
//! room (events, new traces) is refused while the reserve is missing and can't be made again, so only deletions, the ends of
//! traces and leases use it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use reflow_tracing_storage::StorageError;

use crate::disk;

/// Moving the log to the database takes as much as SQLite lets the log grow to, 4 MB.
const LEN: u64 = 4 << 20;

/// More than this must be free besides, or a reserve that another process gave up to delete is not made again.
const HEADROOM: u64 = 1 << 20;

pub(crate) struct Reserve {
    database: PathBuf,
    file: PathBuf,
}

impl Reserve {
    /// The reserve of a database, whether it exists or not.
    pub(crate) fn of(database: &Path) -> Self {
        let database = disk::real(database);
        let mut file = database.clone().into_os_string();
        file.push("-reserve");
        Self { database, file: file.into() }
    }

    /// Fails with [`StorageError::Exhausted`] if the reserve should be there, but there is no room for it.
    pub(crate) fn ensure(&self) -> Result<(), StorageError> {
        if len(&self.file) == LEN || len(&self.database) < LEN {
            return Ok(());
        }
        if disk::available(&self.database).is_some_and(|free| free < LEN + HEADROOM) || self.make().is_err() {
            return Err(StorageError::Exhausted(format!(
                "the disk of {} is full: what is left, less than {} KiB, is for deleting; free space on it, or delete traces \
                 with `reflow-tracing retain`",
                self.database.display(),
                (LEN + HEADROOM) / 1024
            )));
        }
        Ok(())
    }

    /// Makes the reserve again. Fails if the disk is full; where a file can't be created for another reason, there is none.
    pub(crate) fn make(&self) -> std::io::Result<()> {
        if len(&self.file) == LEN {
            return Ok(());
        }
        let written = File::create(&self.file).and_then(|mut file| file.write_all(&disk::noise(LEN as usize)));
        match written {
            Err(error) if disk::is_full(&error) => {
                self.release();
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Gives up the reserve. Returns whether there was one.
    pub(crate) fn release(&self) -> bool {
        fs::remove_file(&self.file).is_ok()
    }
}

/// The length of a file; 0 if there is none.
fn len(file: &Path) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_store_has_no_reserve_and_a_larger_one_gets_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("t.db");
        let reserve = Reserve::of(&database);
        fs::write(&database, "small").unwrap();
        reserve.ensure().unwrap();
        assert!(!reserve.release());
        fs::write(&database, vec![0; LEN as usize]).unwrap();
        for _ in 0..2 {
            reserve.ensure().unwrap();
            assert_eq!(len(&folder.path().join("t.db-reserve")), LEN);
            assert!(reserve.release());
        }
    }

    #[test]
    fn a_reserve_that_was_cut_short_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("t.db");
        fs::write(&database, vec![0; LEN as usize]).unwrap();
        fs::write(folder.path().join("t.db-reserve"), "cut").unwrap();
        Reserve::of(&database).ensure().unwrap();
        assert_eq!(len(&folder.path().join("t.db-reserve")), LEN);
    }
}
