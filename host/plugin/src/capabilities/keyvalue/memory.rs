//! `memory:`: a bucket that lasts as long as the plugin is open.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::store::{Filling, Page, Scan, Store, too_many_bytes};
use super::{Change, KeyvalueError};

/// What an entry takes beside its key and its value, about.
const ENTRY_BYTES: usize = 128;

pub(super) struct Memory {
    state: Mutex<State>,
    max_bytes: usize,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// When which entry expires.
    expiring: BTreeSet<(Instant, Vec<u8>)>,
    bytes: usize,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Instant>,
}

impl Memory {
    /// A bucket that takes at most `max_bytes`, its bookkeeping included.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { state: Mutex::default(), max_bytes }
    }

    /// What is there now.
    fn now(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sweep();
        state
    }
}

impl State {
    /// Drops what has expired.
    fn sweep(&mut self) {
        let now = Instant::now();
        while let Some((expires, _)) = self.expiring.first()
            && *expires <= now
            && let Some((_, key)) = self.expiring.pop_first()
        {
            self.replace(key, None);
        }
    }

    /// Makes `key` have this entry, or none, and gives back the one before.
    fn replace(&mut self, key: Vec<u8>, entry: Option<Entry>) -> Option<Entry> {
        match entry {
            Some(entry) => {
                self.bytes += key.len() + entry.value.len() + ENTRY_BYTES;
                if let Some(expires) = entry.expires {
                    self.expiring.insert((expires, key.clone()));
                }
                let expires = entry.expires;
                let before = self.entries.insert(key.clone(), entry);
                self.forget(key, before.as_ref(), expires);
                before
            }
            None => {
                let before = self.entries.remove(&key);
                self.forget(key, before.as_ref(), None);
                before
            }
        }
    }

    /// Takes an entry that is gone out of the books; `kept` is when its successor expires.
    fn forget(&mut self, key: Vec<u8>, gone: Option<&Entry>, kept: Option<Instant>) {
        let Some(gone) = gone else { return };
        self.bytes -= key.len() + gone.value.len() + ENTRY_BYTES;
        if let Some(expires) = gone.expires
            && kept != Some(expires)
        {
            self.expiring.remove(&(expires, key));
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, keys: Vec<Vec<u8>>, max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, KeyvalueError> {
        let state = self.now();
        let mut bytes = 0;
        let value = |key: &Vec<u8>| {
            let value = state.entries.get(key).map(|entry| &entry.value);
            bytes += value.map_or(0, Vec::len);
            if bytes > max_bytes { Err(too_many_bytes(max_bytes)) } else { Ok(value.cloned()) }
        };
        keys.iter().map(value).collect()
    }

    async fn delete(&self, key: Vec<u8>) -> Result<bool, KeyvalueError> {
        Ok(self.now().replace(key, None).is_some())
    }

    async fn apply(&self, changes: Vec<Change>, ttl: Option<Duration>) -> Result<(), KeyvalueError> {
        let mut state = self.now();
        let expires = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        let mut undo = Vec::with_capacity(changes.len());
        for change in changes {
            let (key, entry) = match change {
                Change::Set(entry) => (entry.key, Some(Entry { value: entry.value, expires })),
                Change::Delete(key) => (key, None),
            };
            let before = state.replace(key.clone(), entry);
            undo.push((key, before));
        }
        if state.bytes <= self.max_bytes {
            return Ok(());
        }
        for (key, before) in undo.into_iter().rev() {
            state.replace(key, before);
        }
        Err(KeyvalueError::LimitExceeded(format!(
            "the bucket may take {} bytes of memory, which max_mb of its grant says (memory:?max_mb=..)",
            self.max_bytes
        )))
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Result<bool, KeyvalueError> {
        let mut state = self.now();
        if state.entries.get(&key).map(|entry| &entry.value) != expected.as_ref() {
            return Ok(false);
        }
        let expires = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        let before = state.replace(key.clone(), new.map(|value| Entry { value, expires }));
        if state.bytes > self.max_bytes {
            state.replace(key, before);
            return Err(KeyvalueError::LimitExceeded(format!(
                "the bucket may take {} bytes of memory",
                self.max_bytes
            )));
        }
        Ok(true)
    }

    async fn scan(&self, scan: Scan) -> Result<Page, KeyvalueError> {
        let state = self.now();
        let mut filling = Filling::new(&scan);
        let (start, end) = scan.range();
        let range = state.entries.range::<[u8], _>((start, end.as_ref().map(Vec::as_slice) as Bound<&[u8]>));
        let mut add = |(key, entry): (&Vec<u8>, &Entry)| filling.add(key, if scan.values { &entry.value } else { &[] });
        if scan.reverse {
            let _ = range.rev().all(&mut add);
        } else {
            let mut range = range;
            let _ = range.all(&mut add);
        }
        Ok(filling.done())
    }
}
