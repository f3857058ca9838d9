//! The interface of bucket implementations.

use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use crate::contract::bindings::reflow::capabilities::keyvalue::{Change, Entry, KeyvalueError};

/// Ordered keys with values, which may expire. `wit/keyvalue.wit` is the specification, and `tests.rs` checks
/// every implementation against it.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// Its path, if it is a file.
    fn file(&self) -> Option<&Path> {
        None
    }
    /// The values of `keys`, in their order. Fails when they exceed `max_bytes` together.
    async fn get(&self, keys: Vec<Vec<u8>>, max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, KeyvalueError>;
    /// Deletes a key. Returns whether it existed.
    async fn delete(&self, key: Vec<u8>) -> Result<bool, KeyvalueError>;
    /// Applies the changes in order, atomically.
    async fn apply(&self, changes: Vec<Change>, ttl: Option<Duration>) -> Result<(), KeyvalueError>;
    /// Sets or deletes the value, if the current value is `expected`.
    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Result<bool, KeyvalueError>;
    /// Sets the entries of each group in order, atomically, except of groups whose first key exists. Returns how many groups
    /// were set.
    async fn insert(&self, groups: Vec<Vec<Entry>>, ttl: Option<Duration>) -> Result<u64, KeyvalueError>;
    /// How many keys begin with `prefix`.
    async fn count(&self, prefix: Vec<u8>) -> Result<u64, KeyvalueError>;
    /// A page of a listing.
    async fn scan(&self, scan: Scan) -> Result<Page, KeyvalueError>;
}

/// A request for a page of a listing.
pub(super) struct Scan {
    pub prefix: Vec<u8>,
    /// The last key of the previous page.
    pub after: Option<Vec<u8>>,
    pub reverse: bool,
    /// Whether to return values too.
    pub values: bool,
    /// At least 1.
    pub limit: usize,
    /// Maximum size of the returned keys and values. The first entry is returned whatever its size.
    pub max_bytes: usize,
}

impl Scan {
    /// Of all keys that begin with `prefix`.
    pub(super) fn of_keys(prefix: Vec<u8>) -> Self {
        Self { prefix, after: None, reverse: false, values: false, limit: usize::MAX, max_bytes: usize::MAX }
    }

    /// The range of keys that remain to be listed.
    pub(super) fn range(&self) -> (Bound<&[u8]>, Bound<Vec<u8>>) {
        let start = Bound::Included(self.prefix.as_slice());
        let end = successor_of_prefix(&self.prefix).map_or(Bound::Unbounded, Bound::Excluded);
        match &self.after {
            None => (start, end),
            Some(after) if self.reverse => (start, Bound::Excluded(after.clone())),
            Some(after) => (Bound::Excluded(after), end),
        }
    }
}

/// The smallest key greater than all keys with `prefix`; `None` when there is none.
fn successor_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// Entries in the order of the listing. Values are empty when only keys were requested.
#[derive(Default)]
pub(super) struct Page {
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether more entries follow.
    pub more: bool,
}

/// Builds a page up to its limits.
pub(super) struct PageBuilder {
    page: Page,
    bytes: usize,
    limit: usize,
    max_bytes: usize,
}

impl PageBuilder {
    pub(super) fn new(scan: &Scan) -> Self {
        Self { page: Page::default(), bytes: 0, limit: scan.limit, max_bytes: scan.max_bytes }
    }

    /// Adds an entry. Returns false when the page is full, and notes that more entries follow.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        let bytes = self.bytes + key.len() + value.len();
        let count = self.page.entries.len();
        if count > 0 && (count == self.limit || bytes > self.max_bytes) {
            self.page.more = true;
            return false;
        }
        self.bytes = bytes;
        self.page.entries.push((key.to_vec(), value.to_vec()));
        true
    }

    pub(super) fn build(self) -> Page {
        self.page
    }
}

/// The requested values exceed the limit.
pub(super) fn too_many_bytes(max_bytes: usize) -> KeyvalueError {
    KeyvalueError::LimitExceeded(format!(
        "the values have more than {max_bytes} bytes together; request fewer keys at a time"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_of_a_prefix_skips_trailing_ff_bytes() {
        assert_eq!(successor_of_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(successor_of_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(successor_of_prefix(b""), None);
        assert_eq!(successor_of_prefix(b"\xff\xff"), None);
    }
}
