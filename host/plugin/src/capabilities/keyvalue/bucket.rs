//! A bucket of any kind.

use std::sync::Arc;
use std::time::Duration;

use super::store::{Page, Scan, Store, too_many_bytes};
use crate::contract::batch::{EventBatch, Row};
use crate::contract::bindings::reflow::capabilities::keyvalue::{self, Change, Entry, EventEntry, KeyvalueError};
use crate::contract::part::Part;

/// Maximum size of a key, in bytes.
pub(super) const MAX_KEY: usize = 1024;
/// Maximum size of a value, in bytes.
pub(super) const MAX_VALUE: usize = 16 * 1024 * 1024;
/// Maximum entries of a page.
const PAGE_ENTRIES: usize = 10_000;
/// Maximum bytes of a page with more than one entry.
pub(super) const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum time to live. Avoids overflow; longer is as good as forever.
const MAX_TTL: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

/// Maximum bytes of the entries that a batch of events is turned into. A batch has at most about 8 MiB of events.
const MAX_INSERT: usize = 32 * 1024 * 1024;
/// Approximate overhead of an entry.
const ENTRY_BYTES: usize = 64;

/// The parts of an entry for each event of a batch.
struct EntryTemplate {
    key: Vec<Part>,
    value: Vec<Part>,
}

impl EntryTemplate {
    /// Fails on a name that is not a field.
    fn new(entry: EventEntry) -> Result<Self, String> {
        let parsed = |parts: Vec<keyvalue::Part>| parts.into_iter().map(Part::try_from).collect::<Result<_, _>>();
        Ok(Self { key: parsed(entry.key)?, value: parsed(entry.value)? })
    }

    /// Stops at the first part that makes a key or a value larger than a bucket takes.
    fn fill(&self, row: &Row) -> Entry {
        let joined = |parts: &[Part], most: usize| {
            let mut bytes = Vec::new();
            for part in parts {
                part.write(row, &mut bytes);
                if bytes.len() > most {
                    break;
                }
            }
            bytes
        };
        Entry { key: joined(&self.key, MAX_KEY), value: joined(&self.value, MAX_VALUE) }
    }
}

/// A bucket that checks its arguments.
#[derive(Clone)]
pub struct Bucket {
    pub(super) store: Arc<dyn Store>,
    /// Maximum bytes of an answer.
    result_bytes: usize,
}

impl Bucket {
    pub(super) fn new(store: Arc<dyn Store>, result_bytes: usize) -> Self {
        Self { store, result_bytes }
    }

    pub(super) async fn get_many(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, KeyvalueError> {
        keys.iter().try_for_each(|key| self.check_key(key))?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.store.get(keys, self.result_bytes).await
    }

    pub(super) async fn apply(&self, changes: Vec<Change>, ttl_ms: Option<u64>) -> Result<(), KeyvalueError> {
        for change in &changes {
            match change {
                Change::Set(entry) => self.check_key(&entry.key).and_then(|()| self.check_value(&entry.value))?,
                Change::Delete(key) => self.check_key(key)?,
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.store.apply(changes, ttl(ttl_ms)).await
    }

    pub(super) async fn delete(&self, key: Vec<u8>) -> Result<bool, KeyvalueError> {
        self.check_key(&key)?;
        self.store.delete(key).await
    }

    pub(super) async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl_ms: Option<u64>,
    ) -> Result<bool, KeyvalueError> {
        self.check_key(&key)?;
        new.iter().chain(&expected).try_for_each(|value| self.check_value(value))?;
        self.store.compare_and_set(key, expected, new, ttl(ttl_ms)).await
    }

    /// A page of a listing, and the cursor of the next page.
    pub(super) async fn scan(
        &self,
        prefix: Vec<u8>,
        cursor: Option<Vec<u8>>,
        limit: u32,
        reverse: bool,
        values: bool,
    ) -> Result<(Vec<Entry>, Option<Vec<u8>>), KeyvalueError> {
        self.check_key(&prefix)?;
        if limit == 0 {
            return Err(KeyvalueError::InvalidArgument("`limit` is 0; it must be at least 1".into()));
        }
        // A cursor is the last key of the previous page. It stays valid when that key is deleted.
        if cursor.as_ref().is_some_and(|cursor| !cursor.starts_with(&prefix)) {
            return Err(KeyvalueError::InvalidArgument("the cursor belongs to a listing with another prefix".into()));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(PAGE_ENTRIES);
        let max_bytes = PAGE_BYTES.min(self.result_bytes);
        let Page { entries, more } =
            self.store.scan(Scan { prefix, after: cursor, reverse, values, limit, max_bytes }).await?;
        if entries.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > self.result_bytes {
            return Err(too_many_bytes(self.result_bytes));
        }
        let next = if more { entries.last().map(|(key, _)| key.clone()) } else { None };
        Ok((entries.into_iter().map(|(key, value)| Entry { key, value }).collect(), next))
    }

    /// Sets the entries of each event whose first key does not exist. Returns how many events were set.
    pub(super) async fn insert_batch(
        &self,
        entries: Vec<EventEntry>,
        batch: EventBatch,
        ttl_ms: Option<u64>,
    ) -> Result<u64, KeyvalueError> {
        let templates = entries.into_iter().map(EntryTemplate::new).collect::<Result<Vec<_>, _>>();
        let templates = templates.map_err(KeyvalueError::InvalidArgument)?;
        if templates.is_empty() {
            return Err(KeyvalueError::InvalidArgument("an event needs at least one entry".into()));
        }
        let mut groups = Vec::with_capacity(batch.rows().len());
        let mut bytes = 0;
        for row in batch.rows() {
            let mut group = Vec::new();
            for template in &templates {
                let entry = template.fill(row);
                self.check_key(&entry.key).and_then(|()| self.check_value(&entry.value))?;
                bytes += entry.key.len() + entry.value.len() + ENTRY_BYTES;
                if bytes > MAX_INSERT {
                    return Err(KeyvalueError::LimitExceeded(format!(
                        "the entries of the batch have more than {MAX_INSERT} bytes; store less of each event"
                    )));
                }
                group.push(entry);
            }
            groups.push(group);
        }
        if groups.is_empty() {
            return Ok(0);
        }
        self.store.insert(groups, ttl(ttl_ms)).await
    }

    pub(super) async fn count(&self, prefix: Vec<u8>) -> Result<u64, KeyvalueError> {
        self.check_key(&prefix)?;
        self.store.count(prefix).await
    }

    fn check_key(&self, key: &[u8]) -> Result<(), KeyvalueError> {
        if key.len() > MAX_KEY {
            return Err(KeyvalueError::LimitExceeded(format!(
                "the key has {} bytes; the maximum is {MAX_KEY}",
                key.len()
            )));
        }
        Ok(())
    }

    fn check_value(&self, value: &[u8]) -> Result<(), KeyvalueError> {
        // A larger value could not be read again.
        let most = MAX_VALUE.min(self.result_bytes);
        if value.len() > most {
            return Err(KeyvalueError::LimitExceeded(format!(
                "the value has {} bytes; the maximum is {most}",
                value.len()
            )));
        }
        Ok(())
    }
}

fn ttl(ttl_ms: Option<u64>) -> Option<Duration> {
    ttl_ms.map(|millis| Duration::from_millis(millis).min(MAX_TTL))
}
