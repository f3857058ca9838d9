//! Which partition holds what has a time far from now.

use std::collections::HashMap;

/// The times whose events are placed in the partition of another time.
#[derive(Debug, Default)]
pub(super) struct Moved(HashMap<i64, i64>);

impl Moved {
    pub(super) fn insert(&mut self, at: i64, place: i64) {
        self.0.insert(at, place);
    }

    /// The time that determines the partition.
    pub(super) fn place(&self, at: i64) -> i64 {
        self.0.get(&at).copied().unwrap_or(at)
    }
}
