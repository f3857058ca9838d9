//! Ordered buckets of keys and values that the operator has granted, by label.
//!
//! ```no_run
//! use reflow_tracing_plugin::{Result, keyvalue};
//!
//! /// Counts one more visit, correctly also under concurrency.
//! fn count_visit() -> Result<()> {
//!     let bucket = keyvalue::Bucket::open("counters")?;
//!     loop {
//!         let before = bucket.get(b"visits")?;
//!         let visits = before.as_deref().and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
//!         if bucket.compare_and_set(b"visits", before.as_deref(), Some(&(visits + 1).to_be_bytes()), None)? {
//!             return Ok(());
//!         }
//!     }
//! }
//!
//! /// Deletes all keys that begin with `old/`.
//! fn clean_up(bucket: &keyvalue::Bucket) -> Result<()> {
//!     let keys = bucket.keys(b"old/").collect::<std::result::Result<Vec<_>, _>>()?;
//!     bucket.apply(&keys.into_iter().map(keyvalue::Change::Delete).collect::<Vec<_>>(), None)?;
//!     Ok(())
//! }
//! ```

use std::iter::from_fn;

use crate::StorageError;
pub use crate::bindings::reflow::capabilities::keyvalue::{
    Bucket, Change, Entry, EntryPage, EventEntry, EventPage, KeyPage, KeyvalueError as Error, Part,
};

/// Entries per call: a compromise between the number of calls and the memory.
const FETCH: u32 = 1_000;

impl Bucket {
    /// All keys that begin with `prefix`, in order, fetched as they are needed. Ends after an error.
    pub fn keys(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
        all(move |cursor| {
            self.list_keys(prefix, cursor, FETCH)
                .map(|page| (page.keys, page.next))
        })
    }

    /// All entries whose keys begin with `prefix`, in order, fetched as they are needed. Ends after an error.
    pub fn entries(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Entry, Error>> {
        all(move |cursor| {
            self.scan(prefix, cursor, FETCH, false)
                .map(|page| (page.entries, page.next))
        })
    }
}

/// A page of a listing, and the cursor of the next page.
type Page<T> = Result<(Vec<T>, Option<Vec<u8>>), Error>;

/// The items of all pages.
fn all<T>(fetch: impl Fn(Option<&[u8]>) -> Page<T>) -> impl Iterator<Item = Result<T, Error>> {
    let mut cursor = None;
    let mut over = false;
    from_fn(move || {
        if over {
            return None;
        }
        let page = fetch(cursor.as_deref());
        cursor = page.as_ref().ok().and_then(|(_, next)| next.clone());
        over = cursor.is_none();
        Some(match page {
            Ok((items, _)) => items.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    })
    .flatten()
}

impl Change {
    /// Sets the value of `key`.
    pub fn set(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Set(Entry {
            key: key.into(),
            value: value.into(),
        })
    }
}

/// Lets `?` convert an error of the bucket.
impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchLabel(label) => Self::InvalidArgument(format!(
                "no bucket is granted under the label `{label}`: add grants = {{ keyvalue = {{ {label} = \"...\" }} }}"
            )),
            Error::InvalidArgument(message) | Error::AccessDenied(message) => {
                Self::InvalidArgument(message)
            }
            Error::Timeout => Self::Unavailable("the bucket did not answer in time".into()),
            Error::Unavailable(message) => Self::Unavailable(message),
            Error::LimitExceeded(message) => Self::Exhausted(message),
            Error::Other(message) => Self::other(message),
        }
    }
}
