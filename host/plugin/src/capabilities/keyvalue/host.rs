//! The functions of the interface.

use wasmtime::component::Resource;

use super::bucket::Bucket;
use crate::capabilities::state::HostState;
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::keyvalue::{
    Change, Entry, EntryPage, EventEntry, EventPage, Host, HostBucket, KeyPage, KeyvalueError, Part,
};
use crate::contract::body::DecodeError;
use crate::contract::budget::{Budget, OverBudget};

type Answer<T> = wasmtime::Result<Result<T, KeyvalueError>>;

/// Checks what a plugin passes before anything is done with it: keys, values, parts of entries, by their bytes.
fn check(passed: impl IntoIterator<Item = usize>, mut budget: Budget) -> Result<(), KeyvalueError> {
    budget.take_list(passed).map_err(limit_exceeded)
}

fn limit_exceeded(error: OverBudget) -> KeyvalueError {
    KeyvalueError::LimitExceeded(error.to_string())
}

fn bytes_of_change(change: &Change) -> usize {
    match change {
        Change::Set(entry) => entry.key.len() + entry.value.len(),
        Change::Delete(key) => key.len(),
    }
}

fn bytes_of_part(part: &Part) -> usize {
    match part {
        Part::Fixed(bytes) => bytes.len(),
        Part::Field(name) | Part::Sortable(name) | Part::Present(name) => name.len(),
    }
}

impl Host for HostState {}

impl HostBucket for HostState {
    async fn open(&mut self, label: String) -> Answer<Resource<Bucket>> {
        match self.granted.keyvalue.get(&label) {
            Some(bucket) => Ok(Ok(self.table.push(bucket)?)),
            None => Ok(Err(KeyvalueError::NoSuchLabel(label))),
        }
    }

    async fn get(&mut self, this: Resource<Bucket>, key: Vec<u8>) -> Answer<Option<Vec<u8>>> {
        Ok(self.table.get(&this)?.get_many(vec![key]).await.map(|mut values| values.pop().flatten()))
    }

    async fn get_many(&mut self, this: Resource<Bucket>, keys: Vec<Vec<u8>>) -> Answer<Vec<Option<Vec<u8>>>> {
        if let Err(problem) = check(keys.iter().map(Vec::len), self.budget()) {
            return Ok(Err(problem));
        }
        Ok(self.table.get(&this)?.get_many(keys).await)
    }

    async fn set(&mut self, this: Resource<Bucket>, key: Vec<u8>, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<()> {
        Ok(self.table.get(&this)?.apply(vec![Change::Set(Entry { key, value })], ttl_ms).await)
    }

    async fn delete(&mut self, this: Resource<Bucket>, key: Vec<u8>) -> Answer<bool> {
        Ok(self.table.get(&this)?.delete(key).await)
    }

    async fn apply(&mut self, this: Resource<Bucket>, changes: Vec<Change>, ttl_ms: Option<u64>) -> Answer<()> {
        if let Err(problem) = check(changes.iter().map(bytes_of_change), self.budget()) {
            return Ok(Err(problem));
        }
        Ok(self.table.get(&this)?.apply(changes, ttl_ms).await)
    }

    async fn compare_and_set(
        &mut self,
        this: Resource<Bucket>,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl_ms: Option<u64>,
    ) -> Answer<bool> {
        Ok(self.table.get(&this)?.compare_and_set(key, expected, new, ttl_ms).await)
    }

    async fn list_keys(
        &mut self,
        this: Resource<Bucket>,
        prefix: Vec<u8>,
        cursor: Option<Vec<u8>>,
        limit: u32,
    ) -> Answer<KeyPage> {
        let page = self.table.get(&this)?.scan(prefix, cursor, limit, false, false).await;
        Ok(page.map(|(entries, next)| KeyPage { keys: entries.into_iter().map(|entry| entry.key).collect(), next }))
    }

    async fn scan(
        &mut self,
        this: Resource<Bucket>,
        prefix: Vec<u8>,
        cursor: Option<Vec<u8>>,
        limit: u32,
        reverse: bool,
    ) -> Answer<EntryPage> {
        let page = self.table.get(&this)?.scan(prefix, cursor, limit, reverse, true).await;
        Ok(page.map(|(entries, next)| EntryPage { entries, next }))
    }

    async fn count(&mut self, this: Resource<Bucket>, prefix: Vec<u8>) -> Answer<u64> {
        Ok(self.table.get(&this)?.count(prefix).await)
    }

    async fn insert_batch(
        &mut self,
        this: Resource<Bucket>,
        entries: Vec<EventEntry>,
        rows: Resource<EventBatch>,
        ttl_ms: Option<u64>,
    ) -> Answer<u64> {
        let batch = self.batch(&rows)?.clone();
        let parts = entries.iter().flat_map(|entry| entry.key.iter().chain(&entry.value));
        if let Err(problem) = check(parts.map(bytes_of_part), self.budget()) {
            return Ok(Err(problem));
        }
        Ok(self.table.get(&this)?.insert_batch(entries, batch, ttl_ms).await)
    }

    async fn scan_events(
        &mut self,
        this: Resource<Bucket>,
        prefix: Vec<u8>,
        cursor: Option<Vec<u8>>,
        limit: u32,
        reverse: bool,
    ) -> Answer<EventPage> {
        let (entries, next) = match self.table.get(&this)?.scan(prefix, cursor, limit, reverse, true).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        let bodies = entries.iter().map(|entry| entry.value.as_slice());
        let batch = match EventBatch::from_bodies(bodies, self.budget()) {
            Ok(batch) => batch,
            Err(error @ DecodeError::TooLarge { .. }) => {
                return Ok(Err(KeyvalueError::LimitExceeded(error.to_string())));
            }
            Err(error) => {
                return Ok(Err(KeyvalueError::Other(format!("a value is not the body of an event: {error}"))));
            }
        };
        let page = self.add_batch(batch)?.map(|events| EventPage { events, next });
        Ok(page.map_err(KeyvalueError::LimitExceeded))
    }

    async fn drop(&mut self, this: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
