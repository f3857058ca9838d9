//! Compiled functions on disk, so that another build of a plugin compiles only the functions that changed. Two builds of a plugin
//! in Python or JavaScript share nearly all of theirs: those of the language's runtime.
//!
//! It is one SQLite file beside the compiled components, trusted as these are. Each entry carries its digest. Whatever fails here
//! only costs the time to compile.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use wasmtime::CacheStore;

/// The largest size of the file. The functions that were not used for longest are deleted beyond it. Those of a plugin in Python
/// take about 100 MB.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// The file has to be smaller than the limit by this share after deletions, so that not every compilation deletes.
const ROOM: u64 = 4;
/// New functions are written together when they have this many bytes.
const WRITE_BYTES: usize = 4 * 1024 * 1024;
/// How long another process may keep the file locked.
const PATIENCE: Duration = Duration::from_secs(2);
const DIGEST_BYTES: usize = 32;

pub(super) struct FunctionCache {
    file: PathBuf,
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    /// Entries to write.
    new: Vec<(Vec<u8>, Vec<u8>)>,
    new_bytes: usize,
    /// The rows of entries that were last used before today.
    used: Vec<i64>,
    today: i64,
}

impl FunctionCache {
    /// Opens the cache in `folder`, to which only this user may write.
    pub(super) fn open(folder: &Path) -> rusqlite::Result<Self> {
        let file = folder.join("functions.db");
        let connection = connect(&file).or_else(|_| {
            // Damaged, or of another version. It is only a cache.
            let _ = std::fs::remove_file(&file);
            connect(&file)
        })?;
        let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() / 86_400);
        let state = State { connection, new: Vec::new(), new_bytes: 0, used: Vec::new(), today: days.cast_signed() };
        Ok(Self { file, state: Mutex::new(state) })
    }

    /// Writes what is left to write, and deletes what is too much.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = state.write().and_then(|()| state.note_use()).and_then(|()| state.shrink(MAX_BYTES)) {
            tracing::debug!("can't keep compiled functions in {}: {error}", self.file.display());
        }
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(PATIENCE)?;
    // Not durable: after a power failure, functions are compiled again.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
         CREATE TABLE IF NOT EXISTS function (
             key BLOB NOT NULL UNIQUE,
             code BLOB NOT NULL,
             -- Days since 1970.
             used INTEGER NOT NULL
         );
         CREATE INDEX IF NOT EXISTS function_used ON function (used);",
    )?;
    connection.prepare("SELECT rowid, code, used FROM function WHERE key = x''")?;
    Ok(connection)
}

impl State {
    fn get(&mut self, key: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
        let row = self
            .connection
            .prepare_cached("SELECT rowid, code, used FROM function WHERE key = ?1")?
            .query_row([key], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?)))
            .optional()?;
        let Some((row, mut code, used)) = row else { return Ok(None) };
        let at = code.len().saturating_sub(DIGEST_BYTES);
        if digest(key, &code[..at]) != code[at..] {
            self.connection.execute("DELETE FROM function WHERE rowid = ?1", [row])?;
            return Ok(None);
        }
        code.truncate(at);
        if used < self.today {
            self.used.push(row);
        }
        Ok(Some(code))
    }

    fn add(&mut self, key: &[u8], mut code: Vec<u8>) -> rusqlite::Result<()> {
        let digest = digest(key, &code);
        code.extend_from_slice(&digest);
        self.new_bytes += key.len() + code.len();
        self.new.push((key.to_vec(), code));
        if self.new_bytes > WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> rusqlite::Result<()> {
        // What can't be written is forgotten, so that the memory stays bounded.
        let new = std::mem::take(&mut self.new);
        self.new_bytes = 0;
        if new.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO function (key, code, used) VALUES (?1, ?2, ?3)")?;
            for (key, code) in new {
                insert.execute(params![key, code, self.today])?;
            }
        }
        transaction.commit()
    }

    fn note_use(&mut self) -> rusqlite::Result<()> {
        let used = std::mem::take(&mut self.used);
        let transaction = self.connection.transaction()?;
        for row in used {
            let mut update = transaction.prepare_cached("UPDATE function SET used = ?1 WHERE rowid = ?2")?;
            update.execute([self.today, row])?;
        }
        transaction.commit()
    }

    /// Deletes the entries that were not used for longest when the file has more than `max_bytes`.
    fn shrink(&mut self, max_bytes: u64) -> rusqlite::Result<()> {
        let pragma = |name: &str| self.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        let page = pragma("page_size")?.cast_unsigned();
        let in_use = |used: i64| used.cast_unsigned() * page;
        if in_use(pragma("page_count")? - pragma("freelist_count")?) <= max_bytes {
            return Ok(());
        }
        let delete = "DELETE FROM function WHERE rowid IN (SELECT rowid FROM function ORDER BY used, rowid LIMIT 1000)";
        while in_use(pragma("page_count")? - pragma("freelist_count")?) > max_bytes - max_bytes / ROOM {
            if self.connection.execute(delete, [])? == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn digest(key: &[u8], code: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(key);
    hasher.update(code);
    hasher.finalize().into()
}

impl CacheStore for FunctionCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.get(key).ok().flatten().map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.add(key, value).is_ok()
    }
}

impl fmt::Debug for FunctionCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FunctionCache").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(cache: &FunctionCache, key: &[u8]) -> Option<Vec<u8>> {
        cache.get(key).map(Cow::into_owned)
    }

    #[test]
    fn functions_are_found_again_unless_they_are_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FunctionCache::open(folder.path()).unwrap();
        assert!(cache.insert(b"one", b"code".to_vec()) && cache.insert(b"two", Vec::new()));
        cache.finish();
        let cache = FunctionCache::open(folder.path()).unwrap();
        assert_eq!(code(&cache, b"one").unwrap(), b"code");
        assert_eq!(code(&cache, b"two").unwrap(), b"");
        assert_eq!(code(&cache, b"three"), None);
        let connection = Connection::open(folder.path().join("functions.db")).unwrap();
        connection.execute("UPDATE function SET code = x'00' || substr(code, 2) WHERE key = ?1", [b"one"]).unwrap();
        assert_eq!(code(&cache, b"one"), None);
        assert_eq!(code(&cache, b"two").unwrap(), b"");
    }

    #[test]
    fn a_file_that_is_not_a_cache_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("functions.db"), "not a database".repeat(1_000)).unwrap();
        let cache = FunctionCache::open(folder.path()).unwrap();
        assert!(cache.insert(b"one", b"code".to_vec()));
        cache.finish();
        assert_eq!(code(&cache, b"one").unwrap(), b"code");
    }

    #[test]
    fn what_was_used_last_stays_when_the_file_is_too_large() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FunctionCache::open(folder.path()).unwrap();
        for number in 0..3_000_u32 {
            cache.insert(&number.to_be_bytes(), vec![1; 3_000]);
        }
        cache.finish();
        let mut state = cache.state.lock().unwrap();
        state.connection.execute("UPDATE function SET used = used - 1 WHERE rowid <= 1500", []).unwrap();
        state.shrink(6_000_000).unwrap();
        drop(state);
        assert_eq!(code(&cache, &0_u32.to_be_bytes()), None);
        assert!(code(&cache, &2_999_u32.to_be_bytes()).is_some());
    }
}
