//! `file:PATH`: a bucket in its own SQLite file. Acknowledged writes survive a crash of the process.

use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use reflow_tracing_sqlite::SqliteConfig;
use reflow_tracing_sqlite::pool::Pool;
use reflow_tracing_storage::StorageError;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params, params_from_iter};
use tokio::sync::{OnceCell, Semaphore};

use super::error_reporter::ErrorReporter;
use super::store::{Page, PageBuilder, Scan, Store, too_many_bytes};
use crate::capabilities::connections::{ConnectionBudget, TooManyConnections};
use crate::contract::bindings::reflow::capabilities::keyvalue::{Change, Entry, KeyvalueError};

/// Page cache of a connection, in MiB.
const CACHE_MB: u32 = 8;

/// Expired entries that each change deletes, so that no change has to delete many.
const SWEEP: u32 = 100;

pub(super) struct File {
    pool: Pool,
    /// Set once the file exists. Several connections that create it concurrently could find it locked.
    created: OnceCell<()>,
    /// SQLite allows one writer. Waiting here ends as soon as the writer is done; waiting in SQLite polls.
    writing: Arc<Semaphore>,
    connections: ConnectionBudget,
    reporter: ErrorReporter,
}

impl File {
    pub(super) fn new(path: &str, connections: &ConnectionBudget, reporter: ErrorReporter) -> Self {
        let config = SqliteConfig {
            database_path: path.into(),
            cache_size_mb: CACHE_MB,
            max_connections: u32::try_from(connections.limit()).unwrap_or(u32::MAX),
            ..SqliteConfig::default()
        };
        Self {
            pool: Pool::new(config, |connection, _| set_up(connection)),
            created: OnceCell::new(),
            writing: Arc::new(Semaphore::new(1)),
            connections: connections.clone(),
            reporter,
        }
    }

    async fn create_once(&self) -> Result<(), KeyvalueError> {
        let create = || async { self.pool.run(|_| Ok(())).await.map_err(|error| self.describe(&error)) };
        self.created.get_or_try_init(create).await.map(|_| ())
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, KeyvalueError> {
        let permit =
            self.connections.acquire().await.map_err(|TooManyConnections| self.reporter.too_many_connections())?;
        self.create_once().await?;
        let run = self.pool.run(move |connection| {
            // Held until the work is done, even if the caller stops waiting.
            let _permit = permit;
            let transaction = connection.transaction()?;
            work(&transaction)
        });
        run.await.map_err(|error| self.describe(&error))
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, KeyvalueError> {
        let closed = |_| KeyvalueError::Unavailable("the bucket is closed".into());
        let writing = Arc::clone(&self.writing).acquire_owned().await.map_err(closed)?;
        let permit =
            self.connections.acquire().await.map_err(|TooManyConnections| self.reporter.too_many_connections())?;
        self.create_once().await?;
        let run = self.pool.run(move |connection| {
            let _permits = (writing, permit);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let now = now_ms();
            sweep(&transaction, now)?;
            let result = work(&transaction, now)?;
            transaction.commit()?;
            Ok(result)
        });
        run.await.map_err(|error| self.describe(&error))
    }

    fn describe(&self, error: &StorageError) -> KeyvalueError {
        let redacted = match error {
            StorageError::Exhausted(_) => KeyvalueError::LimitExceeded("the disk of the bucket's file is full".into()),
            StorageError::Unavailable(_) => KeyvalueError::Unavailable(
                "the bucket's file is temporarily unavailable; the host's log says why".into(),
            ),
            _ => KeyvalueError::Other("can't use the bucket's file; the host's log says why".into()),
        };
        self.reporter.report(error, redacted)
    }
}

fn set_up(connection: &mut Connection) -> rusqlite::Result<()> {
    if connection.table_exists(None, "reflow_keyvalue")? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(include_str!("file.sql"))?;
    transaction.commit()
}

fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

fn sweep(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM reflow_keyvalue WHERE rowid IN \
               (SELECT rowid FROM reflow_keyvalue WHERE expires <= ?1 LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![now, SWEEP])?;
    Ok(())
}

fn value(connection: &Connection, key: &[u8], now: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT value FROM reflow_keyvalue WHERE key = ?1 AND (expires IS NULL OR expires > ?2)";
    connection.prepare_cached(sql)?.query_row(params![key, now], |row| row.get(0)).optional()
}

/// The expiry time of a value that is set now.
fn expires(now: i64, ttl: Option<Duration>) -> Option<i64> {
    ttl.map(|ttl| now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)))
}

fn set(connection: &Connection, key: &[u8], value: &[u8], expires: Option<i64>) -> rusqlite::Result<()> {
    let sql = "INSERT INTO reflow_keyvalue (key, value, expires) VALUES (?1, ?2, ?3) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires";
    connection.prepare_cached(sql)?.execute(params![key, value, expires])?;
    Ok(())
}

/// Sets a key that does not exist. Returns whether that is so.
fn add(connection: &Connection, entry: &Entry, now: i64, expires: Option<i64>) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO reflow_keyvalue (key, value, expires) VALUES (?1, ?2, ?3) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires WHERE expires <= ?4";
    Ok(connection.prepare_cached(sql)?.execute(params![entry.key, entry.value, expires, now])? > 0)
}

/// Deletes a key. Returns whether it existed.
fn delete(connection: &Connection, key: &[u8], now: i64) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM reflow_keyvalue WHERE key = ?1 RETURNING expires IS NULL OR expires > ?2";
    let live: Option<bool> =
        connection.prepare_cached(sql)?.query_row(params![key, now], |row| row.get(0)).optional()?;
    Ok(live.unwrap_or(false))
}

/// A condition for the keys of a listing that have not expired, and the values of its parameters.
fn condition(scan: &Scan) -> (String, Vec<Vec<u8>>) {
    let mut sql = format!("(expires IS NULL OR expires > {})", now_ms());
    let mut keys = Vec::new();
    let (start, end) = scan.range();
    for (bound, included, excluded) in [(start.map(<[u8]>::to_vec), ">=", ">"), (end, "<=", "<")] {
        let (comparison, key) = match bound {
            Bound::Included(key) => (included, key),
            Bound::Excluded(key) => (excluded, key),
            Bound::Unbounded => continue,
        };
        keys.push(key);
        sql.push_str(&format!(" AND key {comparison} ?{}", keys.len()));
    }
    (sql, keys)
}

#[async_trait]
impl Store for File {
    fn file(&self) -> Option<&Path> {
        Some(self.pool.path())
    }

    async fn get(&self, keys: Vec<Vec<u8>>, max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, KeyvalueError> {
        self.read(move |connection| {
            let now = now_ms();
            let mut bytes = 0;
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                let value = value(connection, &key, now)?;
                bytes += value.as_ref().map_or(0, Vec::len);
                if bytes > max_bytes {
                    return Ok(Err(too_many_bytes(max_bytes)));
                }
                values.push(value);
            }
            Ok(Ok(values))
        })
        .await?
    }

    async fn delete(&self, key: Vec<u8>) -> Result<bool, KeyvalueError> {
        self.write(move |connection, now| delete(connection, &key, now)).await
    }

    async fn apply(&self, changes: Vec<Change>, ttl: Option<Duration>) -> Result<(), KeyvalueError> {
        self.write(move |connection, now| {
            let expires = expires(now, ttl);
            for change in &changes {
                match change {
                    Change::Set(entry) => set(connection, &entry.key, &entry.value, expires)?,
                    Change::Delete(key) => {
                        delete(connection, key, now)?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Result<bool, KeyvalueError> {
        self.write(move |connection, now| {
            if value(connection, &key, now)? != expected {
                return Ok(false);
            }
            match new {
                Some(new) => set(connection, &key, &new, expires(now, ttl))?,
                None => {
                    delete(connection, &key, now)?;
                }
            }
            Ok(true)
        })
        .await
    }

    async fn insert(&self, groups: Vec<Vec<Entry>>, ttl: Option<Duration>) -> Result<u64, KeyvalueError> {
        self.write(move |connection, now| {
            let expires = expires(now, ttl);
            let mut inserted = 0;
            // Events share most of what is beside the first entry, such as the entry of an index by actor.
            let mut written = HashMap::new();
            for group in &groups {
                let Some((first, others)) = group.split_first() else { continue };
                if add(connection, first, now, expires)? {
                    inserted += 1;
                    for Entry { key, value } in others {
                        if written.insert(key, value) != Some(value) {
                            set(connection, key, value, expires)?;
                        }
                    }
                }
            }
            Ok(inserted)
        })
        .await
    }

    async fn count(&self, prefix: Vec<u8>) -> Result<u64, KeyvalueError> {
        self.read(move |connection| {
            let (condition, keys) = condition(&Scan::of_keys(prefix));
            let sql = format!("SELECT count(*) FROM reflow_keyvalue WHERE {condition}");
            connection.query_row(&sql, params_from_iter(keys), |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        })
        .await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, KeyvalueError> {
        self.read(move |connection| {
            let (condition, keys) = condition(&scan);
            let value = if scan.values { "value" } else { "x''" };
            let mut sql = format!("SELECT key, {value} FROM reflow_keyvalue WHERE {condition}");
            sql.push_str(if scan.reverse { " ORDER BY key DESC" } else { " ORDER BY key" });
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(keys))?;
            let mut page = PageBuilder::new(&scan);
            while let Some(row) = rows.next()? {
                if !page.add(bytes(row.get_ref(0)?), bytes(row.get_ref(1)?)) {
                    break;
                }
            }
            Ok(page.build())
        })
        .await
    }
}

/// The bytes of a column that holds only blobs.
fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes,
        _ => &[],
    }
}
