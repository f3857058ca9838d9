//! What a bucket can lie in.

use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::{Change, KeyvalueError};

/// Ordered keys with values, some of which expire. All stores behave the same, which `suite.rs` sees to; what they owe is said
/// in `wit/capabilities/keyvalue.wit`.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// Where it is, if it is a file of the host's.
    fn file(&self) -> Option<&Path> {
        None
    }
    /// The values of `keys`, in their order. Fails when they have more than `max_bytes` in all.
    async fn get(&self, keys: Vec<Vec<u8>>, max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, KeyvalueError>;
    /// Whether there was such a key.
    async fn delete(&self, key: Vec<u8>) -> Result<bool, KeyvalueError>;
    /// All changes or none, in order.
    async fn apply(&self, changes: Vec<Change>, ttl: Option<Duration>) -> Result<(), KeyvalueError>;
    /// Sets or deletes, if the present value is `expected`.
    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Result<bool, KeyvalueError>;
    /// A part of a listing.
    async fn scan(&self, scan: Scan) -> Result<Page, KeyvalueError>;
}

/// Which part of which listing is asked for.
pub(super) struct Scan {
    pub prefix: Vec<u8>,
    /// The last key of the part before.
    pub after: Option<Vec<u8>>,
    pub reverse: bool,
    /// Whether the values are wanted too.
    pub values: bool,
    /// At least 1.
    pub limit: usize,
    /// Of keys and values that are wanted; the first entry is given whatever its size.
    pub max_bytes: usize,
}

impl Scan {
    /// The keys that the listing still has.
    pub(super) fn range(&self) -> (Bound<&[u8]>, Bound<Vec<u8>>) {
        let start = Bound::Included(self.prefix.as_slice());
        let end = after_all_with(&self.prefix).map_or(Bound::Unbounded, Bound::Excluded);
        match &self.after {
            None => (start, end),
            Some(after) if self.reverse => (start, Bound::Excluded(after.clone())),
            Some(after) => (Bound::Excluded(after), end),
        }
    }
}

/// The first key after all that begin with `prefix`; `None` when nothing comes after them.
fn after_all_with(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// Entries in the order of the listing; without values when only keys were asked for.
#[derive(Default)]
pub(super) struct Page {
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether something follows.
    pub more: bool,
}

/// Fills a page up to its limits.
pub(super) struct Filling {
    page: Page,
    bytes: usize,
    limit: usize,
    max_bytes: usize,
}

impl Filling {
    pub(super) fn new(scan: &Scan) -> Self {
        Self { page: Page::default(), bytes: 0, limit: scan.limit, max_bytes: scan.max_bytes }
    }

    /// Adds an entry. When the page has no room for it, notes that it follows and says `false`.
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

    pub(super) fn done(self) -> Page {
        self.page
    }
}

/// Why values that were asked for are not given.
pub(super) fn too_many_bytes(max_bytes: usize) -> KeyvalueError {
    KeyvalueError::LimitExceeded(format!(
        "the values have more than {max_bytes} bytes together; ask for fewer at a time"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_prefix() {
        assert_eq!(after_all_with(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_all_with(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_all_with(b""), None);
        assert_eq!(after_all_with(b"\xff\xff"), None);
    }
}
