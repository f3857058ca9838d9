//! Remembers which events this process has stored already.
//!
//! The tables deduplicate events by key, but the view of event metrics counts every inserted row. So events that are inserted
//! again are marked, for example those of a trace that is stored once more when it ends. Events that were forgotten here, or
//! that another process stored at the same time, count twice; no event is ever dropped.

use reflow_tracing_model::{EventKey, TraceId};

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The minimum number of remembered events: 8 to 16 MB.
const REMEMBERED: usize = 500_000;

#[derive(Default)]
pub(super) struct Repeats {
    hasher: RandomState,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    stored: Generations,
    /// Events whose insert failed without a clear result.
    doubtful: Generations,
}

impl Repeats {
    /// A hash of each key, and whether the event is stored. Two keys may share a hash.
    pub(super) fn look(&self, keys: impl Iterator<Item = (TraceId, EventKey)>) -> impl Iterator<Item = (u64, bool)> {
        let memory = self.memory();
        let looked: Vec<_> =
            keys.map(|key| self.hasher.hash_one(key)).map(|hash| (hash, memory.stored.contains(hash))).collect();
        looked.into_iter()
    }

    /// The indexes of the events in doubt.
    pub(super) fn doubtful(&self, hashes: impl Iterator<Item = u64>) -> Vec<usize> {
        let memory = self.memory();
        if memory.doubtful.is_empty() {
            return Vec::new();
        }
        hashes.enumerate().filter(|(_, hash)| memory.doubtful.contains(*hash)).map(|(number, _)| number).collect()
    }

    pub(super) fn stored(&self, hashes: impl Iterator<Item = u64>) {
        let mut memory = self.memory();
        for hash in hashes {
            memory.doubtful.remove(hash);
            memory.stored.insert(hash);
        }
    }

    pub(super) fn in_doubt(&self, hashes: impl Iterator<Item = u64>) {
        let mut memory = self.memory();
        for hash in hashes {
            memory.doubtful.insert(hash);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Hashes = HashSet<u64, BuildHasherDefault<Itself>>;

/// The latest hashes. When there are too many, the older half is forgotten.
#[derive(Default)]
struct Generations {
    young: Hashes,
    old: Hashes,
}

impl Generations {
    fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    fn contains(&self, hash: u64) -> bool {
        self.young.contains(&hash) || self.old.contains(&hash)
    }

    fn insert(&mut self, hash: u64) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash);
    }

    fn remove(&mut self, hash: u64) {
        if !self.is_empty() {
            self.young.remove(&hash);
            self.old.remove(&hash);
        }
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reflow_tracing_model::EventId;

    #[test]
    fn the_latest_are_remembered_and_the_oldest_are_not() {
        let repeats = Repeats::default();
        let keys: Vec<(TraceId, EventKey)> = (0..3 * REMEMBERED as i64)
            .map(|time| (TraceId(uuid::Uuid::nil()), (time, EventId(uuid::Uuid::nil()))))
            .collect();
        let hashes: Vec<u64> = repeats.look(keys.iter().copied()).map(|(hash, _)| hash).collect();
        repeats.stored(hashes.iter().copied());
        let known: Vec<bool> = repeats.look(keys.iter().copied()).map(|(_, known)| known).collect();
        assert!(known[2 * REMEMBERED..].iter().all(|known| *known));
        assert!(known[..REMEMBERED].iter().all(|known| !known));
    }

    #[test]
    fn what_was_in_doubt_is_no_longer_once_it_is_stored() {
        let repeats = Repeats::default();
        repeats.in_doubt([1, 2, 3].into_iter());
        assert_eq!(repeats.doubtful([1, 9, 3].into_iter()), [0, 2]);
        repeats.stored([1].into_iter());
        assert_eq!(repeats.doubtful([1, 9, 3].into_iter()), [2]);
    }
}
