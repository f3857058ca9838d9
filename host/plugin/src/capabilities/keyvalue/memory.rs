//! `memory:`: a bucket that lasts as long as the plugin is open.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::store::{Page, PageBuilder, Scan, Store, too_many_bytes};
use crate::contract::bindings::reflow::capabilities::keyvalue::{self as contract, Change, KeyvalueError};

/// Approximate overhead of an entry.
const ENTRY_BYTES: usize = 128;

pub(super) struct Memory {
    state: Mutex<State>,
    max_bytes: usize,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// The entries that expire, by expiry time.
    expiring: BTreeSet<(Instant, Vec<u8>)>,
    bytes: usize,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Instant>,
}

impl Memory {
    /// A bucket of at most `max_bytes`, including overhead.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { state: Mutex::default(), max_bytes }
    }

    /// The state without expired entries.
    fn live_state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sweep();
        state
    }

    /// Takes the changes back. `undo` has what was there before each.
    fn take_back(&self, state: &mut State, undo: Vec<(Vec<u8>, Option<Entry>)>) -> KeyvalueError {
        for (key, before) in undo.into_iter().rev() {
            state.replace(key, before);
        }
        self.full()
    }

    /// Whether changes may go on: what they take beyond the bucket's size is bounded, because later ones may free it again.
    fn may_go_on(&self, state: &State) -> bool {
        state.bytes <= self.max_bytes.saturating_mul(2)
    }

    fn full(&self) -> KeyvalueError {
        let max = self.max_bytes;
        KeyvalueError::LimitExceeded(format!("the bucket is full: raise its limit of {max} bytes (memory:?max_mb=..)"))
    }
}

impl State {
    /// Deletes expired entries.
    fn sweep(&mut self) {
        let now = Instant::now();
        while let Some((expires, _)) = self.expiring.first()
            && *expires <= now
            && let Some((_, key)) = self.expiring.pop_first()
        {
            self.replace(key, None);
        }
    }

    /// Sets or deletes the entry of `key` and returns the previous one.
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

    /// Updates the accounting for a removed entry whose replacement expires at `new_expires`.
    fn forget(&mut self, key: Vec<u8>, removed: Option<&Entry>, new_expires: Option<Instant>) {
        let Some(removed) = removed else { return };
        self.bytes -= key.len() + removed.value.len() + ENTRY_BYTES;
        if let Some(expires) = removed.expires
            && new_expires != Some(expires)
        {
            self.expiring.remove(&(expires, key));
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, keys: Vec<Vec<u8>>, max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, KeyvalueError> {
        let state = self.live_state();
        let mut bytes = 0;
        let value = |key: &Vec<u8>| {
            let value = state.entries.get(key).map(|entry| &entry.value);
            bytes += value.map_or(0, Vec::len);
            if bytes > max_bytes { Err(too_many_bytes(max_bytes)) } else { Ok(value.cloned()) }
        };
        keys.iter().map(value).collect()
    }

    async fn delete(&self, key: Vec<u8>) -> Result<bool, KeyvalueError> {
        Ok(self.live_state().replace(key, None).is_some())
    }

    async fn apply(&self, changes: Vec<Change>, ttl: Option<Duration>) -> Result<(), KeyvalueError> {
        let mut state = self.live_state();
        let expires = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        let mut undo = Vec::new();
        for change in changes {
            let (key, entry) = match change {
                Change::Set(entry) => (entry.key, Some(Entry { value: entry.value, expires })),
                Change::Delete(key) => (key, None),
            };
            let before = state.replace(key.clone(), entry);
            undo.push((key, before));
            if !self.may_go_on(&state) {
                break;
            }
        }
        if state.bytes > self.max_bytes { Err(self.take_back(&mut state, undo)) } else { Ok(()) }
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Result<bool, KeyvalueError> {
        let mut state = self.live_state();
        if state.entries.get(&key).map(|entry| &entry.value) != expected.as_ref() {
            return Ok(false);
        }
        let expires = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        let before = state.replace(key.clone(), new.map(|value| Entry { value, expires }));
        if state.bytes > self.max_bytes {
            state.replace(key, before);
            return Err(self.full());
        }
        Ok(true)
    }

    async fn insert(&self, groups: Vec<Vec<contract::Entry>>, ttl: Option<Duration>) -> Result<u64, KeyvalueError> {
        let mut state = self.live_state();
        let expires = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        let (mut undo, mut inserted) = (Vec::new(), 0);
        for group in groups {
            if group.first().is_some_and(|first| state.entries.contains_key(&first.key)) {
                continue;
            }
            inserted += 1;
            for contract::Entry { key, value } in group {
                let before = state.replace(key.clone(), Some(Entry { value, expires }));
                undo.push((key, before));
            }
            if state.bytes > self.max_bytes {
                return Err(self.take_back(&mut state, undo));
            }
        }
        Ok(inserted)
    }

    async fn count(&self, prefix: Vec<u8>) -> Result<u64, KeyvalueError> {
        let scan = Scan::of_keys(prefix);
        let (start, end) = scan.range();
        let range = (start, end.as_ref().map(Vec::as_slice) as Bound<&[u8]>);
        Ok(self.live_state().entries.range::<[u8], _>(range).count() as u64)
    }

    async fn scan(&self, scan: Scan) -> Result<Page, KeyvalueError> {
        let state = self.live_state();
        let mut page = PageBuilder::new(&scan);
        let (start, end) = scan.range();
        let range = state.entries.range::<[u8], _>((start, end.as_ref().map(Vec::as_slice) as Bound<&[u8]>));
        let mut add = |(key, entry): (&Vec<u8>, &Entry)| page.add(key, if scan.values { &entry.value } else { &[] });
        if scan.reverse {
            let _ = range.rev().all(&mut add);
        } else {
            let mut range = range;
            let _ = range.all(&mut add);
        }
        Ok(page.build())
    }
}
