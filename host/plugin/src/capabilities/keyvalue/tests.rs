//! The suite that every kind of bucket passes.

mod batches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use self::batches::{a_batch_of_events_is_inserted_as_a_whole_or_not_at_all, events_of_a_batch_are_inserted_once};
use super::bucket::{Bucket, MAX_KEY, MAX_VALUE, PAGE_BYTES};
use super::grants::Buckets;
use crate::capabilities::connections::ConnectionBudget;
use crate::capabilities::log::PluginLog;
use crate::contract::bindings::reflow::capabilities::keyvalue::{Change, Entry, KeyvalueError};
use crate::policy::PluginConfig;

#[cfg(unix)]
#[allow(dead_code)] // Other tests use the rest.
#[path = "../../../../../tests/src/servers/redis.rs"]
mod redis_server;

fn connections(limit: usize) -> ConnectionBudget {
    ConnectionBudget::new(limit, &Arc::new(Semaphore::new(1_000)))
}

/// The bucket of a grant with this URL.
fn bucket(url: &str) -> Bucket {
    bucket_of(url, &connections(4))
}

fn bucket_of(url: &str, connections: &ConnectionBudget) -> Bucket {
    let mut config = PluginConfig::default();
    config.grants.keyvalue.insert("b".into(), url.into());
    let buckets = Buckets::new("p", &config, connections, &Arc::new(PluginLog::new("p"))).expect("it can be granted");
    buckets.get("b").expect("it was granted")
}

impl Bucket {
    async fn set(&self, key: &[u8], value: &[u8]) {
        self.apply(vec![set(key, value)], None).await.expect("it is set");
    }

    async fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get_many(vec![key.to_vec()]).await.expect("it is read").pop().expect("one value")
    }

    /// The whole listing, in pages of `limit`.
    async fn list(&self, prefix: &[u8], limit: u32, reverse: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let (entries, next) = self.scan(prefix.to_vec(), cursor, limit, reverse, true).await.expect("it is listed");
            assert!(entries.len() <= limit as usize);
            all.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
            match next {
                Some(next) => cursor = Some(next),
                None => return all,
            }
        }
    }

    async fn keys(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        self.list(prefix, 100, false).await.into_iter().map(|(key, _)| key).collect()
    }
}

fn set(key: &[u8], value: &[u8]) -> Change {
    Change::Set(Entry { key: key.into(), value: value.into() })
}

/// Waits until `key` has expired.
async fn until_gone(bucket: &Bucket, key: &[u8]) {
    let gone = async {
        while bucket.value(key).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it expires");
}

/// Runs every case on its own bucket of each kind.
macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::bucket("memory:")).await;
            })*
        }

        mod file {
            $(#[tokio::test]
            async fn $case() {
                let folder = tempfile::tempdir().unwrap();
                super::$case(&super::bucket(&format!("file:{}/new/bucket.db", folder.path().display()))).await;
            })*
        }

        #[cfg(unix)]
        mod redis {
            $(#[tokio::test]
            async fn $case() {
                let server = super::redis_server::RedisServer::start();
                super::$case(&super::bucket(&format!("{}?prefix=mine:", server.url()))).await;
            })*
        }
    };
}

suite!(
    values_are_set_replaced_and_deleted,
    any_bytes_are_keys_and_values,
    several_values_are_read_in_the_requested_order,
    keys_are_listed_in_the_order_of_their_bytes,
    keys_with_a_prefix_are_listed,
    a_listing_continues_after_changes_between_pages,
    changes_are_applied_in_order,
    a_value_is_exchanged_only_if_it_is_the_expected_one,
    one_of_several_concurrent_exchanges_wins,
    concurrent_increments_are_not_lost,
    entries_expire,
    setting_a_key_again_resets_its_expiry,
    an_expired_value_is_treated_as_absent,
    sizes_are_limited,
    pages_are_limited_in_bytes,
    invalid_arguments_are_refused,
    events_of_a_batch_are_inserted_once,
    a_batch_of_events_is_inserted_as_a_whole_or_not_at_all,
    keys_are_counted,
    behaves_like_an_ordered_map,
);

async fn values_are_set_replaced_and_deleted(bucket: &Bucket) {
    assert_eq!(bucket.value(b"a").await, None);
    assert!(!bucket.delete(b"a".into()).await.unwrap());
    bucket.set(b"a", b"1").await;
    assert_eq!(bucket.value(b"a").await.unwrap(), b"1");
    bucket.set(b"a", b"2").await;
    assert_eq!(bucket.value(b"a").await.unwrap(), b"2");
    assert_eq!(bucket.keys(b"").await, [b"a"]);
    assert!(bucket.delete(b"a".into()).await.unwrap());
    assert!(!bucket.delete(b"a".into()).await.unwrap());
    assert_eq!(bucket.value(b"a").await, None);
    assert!(bucket.keys(b"").await.is_empty());
}

async fn any_bytes_are_keys_and_values(bucket: &Bucket) {
    let all: Vec<u8> = (0..=255).collect();
    for key in [&b""[..], b"\0", b"\xff", b"(a", b"[a", b"+", b"-", &all, &all.repeat(4)] {
        bucket.set(key, &[key, b"\0\xff"].concat()).await;
        assert_eq!(bucket.value(key).await.unwrap(), [key, b"\0\xff"].concat());
    }
    bucket.set(b"empty", b"").await;
    assert_eq!(bucket.value(b"empty").await.unwrap(), b"");
    assert!(bucket.compare_and_set(b"empty".into(), Some(Vec::new()), Some(b"full".into()), None).await.unwrap());
    assert_eq!(bucket.list(b"", 1, false).await.len(), 10);
    assert_eq!(bucket.list(b"", 1, true).await.len(), 10);
}

async fn several_values_are_read_in_the_requested_order(bucket: &Bucket) {
    bucket.set(b"a", b"1").await;
    bucket.set(b"b", b"2").await;
    let keys = [&b"b"[..], b"missing", b"a", b"b"].map(<[u8]>::to_vec).to_vec();
    let values = bucket.get_many(keys).await.unwrap();
    assert_eq!(values, [Some(b"2".to_vec()), None, Some(b"1".to_vec()), Some(b"2".to_vec())]);
    assert!(bucket.get_many(Vec::new()).await.unwrap().is_empty());
    bucket.apply(Vec::new(), None).await.unwrap();
}

async fn keys_are_listed_in_the_order_of_their_bytes(bucket: &Bucket) {
    let sorted =
        [&b""[..], b"\0", b"\0\0", b"A", b"a", b"a\0", b"ab", b"a\xff", b"b", b"\x7f", b"\x80", b"\xff", b"\xff\0"];
    for key in sorted.iter().rev() {
        bucket.set(key, key).await;
    }
    for limit in [1, 2, 5, 12, 13, 14] {
        let listed: Vec<_> = bucket.list(b"", limit, false).await.into_iter().map(|(key, _)| key).collect();
        assert_eq!(listed, sorted, "in pages of {limit}");
        let backwards: Vec<_> = bucket.list(b"", limit, true).await.into_iter().rev().map(|(_, value)| value).collect();
        assert_eq!(backwards, sorted, "backwards in pages of {limit}");
    }
    // The last page says that it is the last.
    let (entries, next) = bucket.scan(Vec::new(), None, 13, false, false).await.unwrap();
    assert_eq!((entries.len(), next), (13, None));
    assert!(entries.iter().all(|entry| entry.value.is_empty()), "values were not asked for");
}

async fn keys_with_a_prefix_are_listed(bucket: &Bucket) {
    for key in [&b"a"[..], b"a\xfe", b"a\xff", b"a\xff\xff", b"a\xff\xffz", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"]
    {
        bucket.set(key, b"").await;
    }
    assert_eq!(bucket.keys(b"a\xff").await, [&b"a\xff"[..], b"a\xff\xff", b"a\xff\xffz"]);
    assert_eq!(bucket.keys(b"a\xff\xff").await, [&b"a\xff\xff"[..], b"a\xff\xffz"]);
    assert_eq!(bucket.keys(b"\xff").await, [&b"\xff"[..], b"\xff\xff", b"\xff\xff\x01"]);
    assert_eq!(bucket.keys(b"\xff\xff").await, [&b"\xff\xff"[..], b"\xff\xff\x01"]);
    assert_eq!(bucket.keys(b"a").await.len(), 5);
    assert!(bucket.keys(b"aa").await.is_empty());
    assert!(bucket.keys(b"\xff\xff\xff").await.is_empty());
    let backwards = bucket.list(b"\xff", 1, true).await.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(backwards, [&b"\xff\xff\x01"[..], b"\xff\xff", b"\xff"]);
    let backwards = bucket.list(b"a\xff", 2, true).await.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(backwards, [&b"a\xff\xffz"[..], b"a\xff\xff", b"a\xff"]);
}

async fn a_listing_continues_after_changes_between_pages(bucket: &Bucket) {
    for reverse in [false, true] {
        for number in 0..10_u8 {
            bucket.set(&[b'k', number], &[number]).await;
        }
        let (first, next) = bucket.scan(b"k".into(), None, 4, reverse, true).await.unwrap();
        // The key of the cursor, one before it, and one after it; another key is new.
        let (gone, behind) = if reverse { (6, 9) } else { (3, 0) };
        let ahead = if reverse { 2 } else { 7 };
        for number in [gone, behind, ahead] {
            assert!(bucket.delete(vec![b'k', number]).await.unwrap());
        }
        bucket.set(&[b'k', 5, 0], b"new").await;
        let (rest, next) = bucket.scan(b"k".into(), next, 100, reverse, true).await.unwrap();
        assert_eq!(next, None);
        let listed: Vec<_> = first.into_iter().chain(rest).map(|entry| entry.key).collect();
        let mut expected: Vec<_> = (0..10).filter(|&n| n != ahead).map(|n| vec![b'k', n]).collect();
        expected.push(vec![b'k', 5, 0]);
        expected.sort();
        if reverse {
            expected.reverse();
        }
        assert_eq!(listed, expected);
        assert!(bucket.delete(vec![b'k', 5, 0]).await.unwrap());
    }
}

async fn changes_are_applied_in_order(bucket: &Bucket) {
    bucket.set(b"old", b"1").await;
    let changes = vec![
        set(b"a", b"1"),
        Change::Delete(b"a".into()),
        set(b"b", b"1"),
        set(b"b", b"2"),
        Change::Delete(b"c".into()),
        set(b"c", b"3"),
        Change::Delete(b"old".into()),
    ];
    bucket.apply(changes, None).await.unwrap();
    assert_eq!(bucket.list(b"", 9, false).await, [(b"b".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
    // An invalid change prevents the others.
    let changes = vec![set(b"d", b"4"), Change::Delete(b"b".into()), set(&[b'x'; MAX_KEY + 1], b"5")];
    assert!(matches!(bucket.apply(changes, None).await, Err(KeyvalueError::LimitExceeded(_))));
    assert_eq!(bucket.keys(b"").await, [b"b", b"c"]);
    // Many changes at once.
    let many = (0..20_000_u32).map(|number| set(&number.to_be_bytes(), b"many")).collect();
    bucket.apply(many, None).await.unwrap();
    assert_eq!(bucket.list(b"\0", 7_000, false).await.len(), 20_000);
}

async fn a_value_is_exchanged_only_if_it_is_the_expected_one(bucket: &Bucket) {
    let exchange = async |expected: Option<&[u8]>, new: Option<&[u8]>| {
        let (expected, new) = (expected.map(<[u8]>::to_vec), new.map(<[u8]>::to_vec));
        bucket.compare_and_set(b"k".into(), expected, new, None).await.unwrap()
    };
    assert!(!exchange(Some(b""), Some(b"1")).await, "none is not an empty one");
    assert!(exchange(None, None).await);
    assert!(exchange(None, Some(b"1")).await);
    assert!(!exchange(None, Some(b"2")).await);
    assert!(!exchange(Some(b"2"), Some(b"3")).await);
    assert_eq!(bucket.value(b"k").await.unwrap(), b"1");
    assert!(exchange(Some(b"1"), Some(b"2")).await);
    assert!(!exchange(Some(b"1"), None).await);
    assert!(exchange(Some(b"2"), None).await);
    assert_eq!(bucket.value(b"k").await, None);
    assert!(bucket.keys(b"").await.is_empty());
}

async fn one_of_several_concurrent_exchanges_wins(bucket: &Bucket) {
    let won = futures::future::join_all((0..16_u8).map(|number| async move {
        bucket.compare_and_set(b"leader".into(), None, Some(vec![number]), None).await.unwrap()
    }))
    .await;
    let winners: Vec<_> = (0..16_u8).zip(won).filter(|(_, won)| *won).map(|(number, _)| vec![number]).collect();
    assert_eq!(winners, [bucket.value(b"leader").await.unwrap()]);
}

async fn concurrent_increments_are_not_lost(bucket: &Bucket) {
    futures::future::join_all((0..8).map(|_| async {
        for _ in 0..10 {
            loop {
                let before = bucket.value(b"n").await;
                let count = before.as_ref().map_or(0, |bytes| bytes[0]) + 1;
                if bucket.compare_and_set(b"n".into(), before, Some(vec![count]), None).await.unwrap() {
                    break;
                }
            }
        }
    }))
    .await;
    assert_eq!(bucket.value(b"n").await.unwrap(), [80]);
}

async fn keys_are_counted(bucket: &Bucket) {
    assert_eq!(bucket.count(Vec::new()).await.unwrap(), 0);
    for key in [&b"a"[..], b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"] {
        bucket.set(key, b"").await;
    }
    bucket.apply(vec![set(b"short", b""), set(b"a brief", b"")], Some(1)).await.unwrap();
    until_gone(bucket, b"short").await;
    until_gone(bucket, b"a brief").await;
    for (prefix, count) in [(&b""[..], 6), (b"a", 3), (b"a\xff", 2), (b"\xff", 2), (b"c", 0)] {
        assert_eq!(bucket.count(prefix.into()).await.unwrap(), count, "{prefix:?}");
    }
    assert!(matches!(bucket.count(vec![0; MAX_KEY + 1]).await, Err(KeyvalueError::LimitExceeded(_))));
}

async fn entries_expire(bucket: &Bucket) {
    bucket.set(b"stays", b"1").await;
    bucket.apply(vec![set(b"long", b"2")], Some(3_600_000)).await.unwrap();
    bucket.apply(vec![set(b"ages", b"3")], Some(u64::MAX)).await.unwrap();
    bucket.apply(vec![set(b"at once", b"4")], Some(0)).await.unwrap();
    assert_eq!(bucket.value(b"at once").await, None);
    // Long enough that the listing below sees them on a busy machine.
    bucket.apply(vec![set(b"short", b"5"), set(b"brief", b"6")], Some(1_500)).await.unwrap();
    assert_eq!(bucket.keys(b"").await.len(), 5);
    until_gone(bucket, b"short").await;
    until_gone(bucket, b"brief").await;
    let expected = [&b"ages"[..], b"long", b"stays"];
    assert_eq!(bucket.keys(b"").await, expected);
    let (entries, next) = bucket.scan(Vec::new(), None, 3, true, false).await.unwrap();
    assert_eq!((entries.len(), next), (3, None));
    assert!(!bucket.delete(b"short".into()).await.unwrap());
    // A change sweeps expired entries and no others.
    bucket.set(b"stays", b"7").await;
    assert_eq!(bucket.keys(b"").await, expected);
}

async fn setting_a_key_again_resets_its_expiry(bucket: &Bucket) {
    for key in [&b"forever"[..], b"longer", b"exchanged"] {
        bucket.apply(vec![set(key, b"1")], Some(1_000)).await.unwrap();
    }
    bucket.apply(vec![set(b"witness", b"1")], Some(1_000)).await.unwrap();
    bucket.set(b"forever", b"2").await;
    bucket.apply(vec![set(b"longer", b"2")], Some(3_600_000)).await.unwrap();
    assert!(bucket.compare_and_set(b"exchanged".into(), Some(b"1".into()), Some(b"2".into()), None).await.unwrap());
    until_gone(bucket, b"witness").await;
    assert_eq!(bucket.keys(b"").await, [&b"exchanged"[..], b"forever", b"longer"]);
    // An entry without an expiry can get one.
    bucket.apply(vec![set(b"forever", b"3")], Some(1)).await.unwrap();
    until_gone(bucket, b"forever").await;
}

async fn an_expired_value_is_treated_as_absent(bucket: &Bucket) {
    bucket.apply(vec![set(b"lock", b"one")], Some(100)).await.unwrap();
    until_gone(bucket, b"lock").await;
    let lock = |expected: Option<&[u8]>, ttl| {
        bucket.compare_and_set(b"lock".into(), expected.map(<[u8]>::to_vec), Some(b"two".into()), ttl)
    };
    assert!(!lock(Some(b"one"), None).await.unwrap());
    assert!(lock(None, Some(100)).await.unwrap());
    until_gone(bucket, b"lock").await;
    assert_eq!(bucket.get_many(vec![b"lock".into()]).await.unwrap(), [None]);
}

async fn sizes_are_limited(bucket: &Bucket) {
    let limit = |result: Result<(), KeyvalueError>| matches!(result, Err(KeyvalueError::LimitExceeded(_)));
    let longest = vec![7; MAX_KEY];
    bucket.set(&longest, b"1").await;
    assert_eq!(bucket.value(&longest).await.unwrap(), b"1");
    let too_long = vec![7; MAX_KEY + 1];
    assert!(limit(bucket.apply(vec![set(&too_long, b"")], None).await));
    assert!(limit(bucket.get_many(vec![too_long.clone()]).await.map(drop)));
    assert!(limit(bucket.delete(too_long.clone()).await.map(drop)));
    assert!(limit(bucket.compare_and_set(too_long.clone(), None, None, None).await.map(drop)));
    assert!(limit(bucket.scan(too_long, None, 1, false, true).await.map(drop)));

    let largest = vec![1; MAX_VALUE];
    bucket.set(b"large", &largest).await;
    assert!(bucket.value(b"large").await.unwrap() == largest);
    assert!(limit(bucket.apply(vec![set(b"larger", &vec![1; MAX_VALUE + 1])], None).await));
    assert_eq!(bucket.value(b"larger").await, None);
    // Together they exceed the 64 MiB of an answer.
    assert!(limit(bucket.get_many(vec![b"large".to_vec(); 5]).await.map(drop)));
    assert_eq!(bucket.get_many(vec![b"large".to_vec(); 4]).await.unwrap().len(), 4);
}

async fn pages_are_limited_in_bytes(bucket: &Bucket) {
    for number in 0..5_u8 {
        bucket.set(&[number], &vec![number; PAGE_BYTES / 2]).await;
    }
    bucket.set(b"\x05", &vec![5; PAGE_BYTES + 1]).await;
    let (entries, next) = bucket.scan(Vec::new(), None, 100, false, true).await.unwrap();
    assert!(entries.len() == 1 && next.is_some(), "two values with their keys exceed a page");
    let (entries, next) = bucket.scan(Vec::new(), None, 100, false, false).await.unwrap();
    assert!(entries.len() == 6 && next.is_none(), "keys alone are small");
    let all = bucket.list(b"", 100, false).await;
    assert_eq!(all.iter().map(|(_, value)| value.len()).collect::<Vec<_>>(), {
        let mut sizes = vec![PAGE_BYTES / 2; 5];
        sizes.push(PAGE_BYTES + 1);
        sizes
    });
}

async fn invalid_arguments_are_refused(bucket: &Bucket) {
    let refused = |result: Result<_, KeyvalueError>| matches!(result.map(drop), Err(KeyvalueError::InvalidArgument(_)));
    assert!(refused(bucket.scan(Vec::new(), None, 0, false, true).await));
    assert!(refused(bucket.scan(b"a".into(), Some(b"b".into()), 1, false, true).await));
    let (entries, next) = bucket.scan(b"a".into(), Some(b"a".into()), u32::MAX, true, true).await.unwrap();
    assert!(entries.is_empty() && next.is_none());
}

/// Applies many changes, which are random but the same in every run, to the bucket and to a map.
async fn behaves_like_an_ordered_map(bucket: &Bucket) {
    let mut map = BTreeMap::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _ in 0..300 {
        let key: Vec<u8> = (0..next(4)).map(|_| [0, b'a', b'b', 255][next(4) as usize]).collect();
        let value = next(1_000).to_be_bytes().to_vec();
        match next(4) {
            0 => assert_eq!(bucket.delete(key.clone()).await.unwrap(), map.remove(&key).is_some()),
            1 => {
                let expected = map.get(&key).cloned().filter(|_| next(3) > 0);
                let done = expected == map.get(&key).cloned();
                assert_eq!(
                    bucket.compare_and_set(key.clone(), expected, Some(value.clone()), None).await.unwrap(),
                    done
                );
                if done {
                    map.insert(key, value);
                }
            }
            2 => {
                let prefix = &key[..key.len() / 2];
                let mut expected: Vec<_> = map.clone().into_iter().filter(|(key, _)| key.starts_with(prefix)).collect();
                let reverse = next(2) == 0;
                if reverse {
                    expected.reverse();
                }
                assert_eq!(bucket.list(prefix, 1 + next(5) as u32, reverse).await, expected);
            }
            _ => {
                bucket.set(&key, &value).await;
                assert_eq!(bucket.value(&key).await.as_ref(), Some(&value));
                map.insert(key, value);
            }
        }
    }
}

#[tokio::test]
async fn a_bucket_in_memory_has_a_size_limit() {
    let bucket = bucket("memory:?max_mb=1");
    let value = vec![0; 400 * 1024];
    bucket.set(b"a", &value).await;
    bucket.set(b"b", &value).await;
    let changes =
        vec![Change::Delete(b"b".into()), set(b"c", &value), set(b"a", b"small"), set(b"d", &value), set(b"e", &value)];
    let error = bucket.apply(changes, None).await.unwrap_err();
    assert!(matches!(error, KeyvalueError::LimitExceeded(message) if message.contains("max_mb")));
    let all = bucket.list(b"", 9, false).await;
    assert_eq!(all, [(b"a".to_vec(), value.clone()), (b"b".to_vec(), value.clone())], "nothing changed");
    assert!(bucket.compare_and_set(b"c".into(), None, Some(value.clone()), None).await.is_err());
    assert_eq!(bucket.value(b"c").await, None);
    // Expired entries make room.
    bucket.apply(vec![set(b"b", &value)], Some(50)).await.unwrap();
    until_gone(&bucket, b"b").await;
    bucket.set(b"c", &value).await;
}

#[tokio::test]
async fn a_file_persists_and_is_shared() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().join("bucket.db").display());
    let (one, other) = (bucket(&url), bucket(&url));
    one.set(b"a", b"1").await;
    assert_eq!(other.value(b"a").await.unwrap(), b"1");
    futures::future::join_all((0..20_u8).map(|number| {
        let bucket = if number % 2 == 0 { &one } else { &other };
        async move { bucket.set(&[number], b"2").await }
    }))
    .await;
    drop((one, other));
    assert_eq!(bucket(&url).keys(b"").await.len(), 21);
}

#[tokio::test]
async fn a_file_of_another_format_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "no database ".repeat(1_000)).unwrap();
    let bucket = bucket(&format!("file:{}", path.display()));
    let error = bucket.apply(vec![set(b"a", b"1")], None).await.unwrap_err();
    assert!(matches!(&error, KeyvalueError::Other(message) if !message.contains("notes.txt")), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "no database ".repeat(1_000));
}

#[cfg(unix)]
#[tokio::test]
async fn buckets_of_a_server_are_isolated_by_their_prefix() {
    let server = redis_server::RedisServer::start();
    let one = bucket(&format!("{}?prefix=one:", server.url()));
    let other = bucket(&format!("{}?prefix=other:", server.url()));
    one.set(b"a", b"1").await;
    assert_eq!(other.value(b"a").await, None);
    assert!(other.keys(b"").await.is_empty());
    assert_eq!(bucket(&format!("{}?prefix=one:", server.url())).value(b"a").await.unwrap(), b"1");
}

#[cfg(unix)]
#[tokio::test]
async fn a_stopped_server_is_unavailable() {
    let server = redis_server::RedisServer::start();
    let bucket = bucket(&server.url());
    bucket.set(b"a", b"1").await;
    drop(server);
    let error = bucket.get_many(vec![b"a".to_vec()]).await.unwrap_err();
    assert!(matches!(&error, KeyvalueError::Unavailable(message) if !message.contains("redis.sock")), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_broken_connection_is_reestablished() {
    let server = redis_server::RedisServer::start();
    let bucket = bucket(&server.url());
    bucket.set(b"a", b"1").await;
    let mut other = ::redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let killed: usize =
        ::redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query(&mut other).unwrap();
    assert_eq!(killed, 1, "the bucket has one connection");
    let again = async {
        // Calls on the broken connection fail.
        while bucket.get_many(vec![b"a".to_vec()]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("it reconnects");
    assert_eq!(bucket.value(b"a").await.unwrap(), b"1");
}

#[cfg(unix)]
#[tokio::test]
async fn a_redis_bucket_counts_towards_the_connection_limit() {
    let server = redis_server::RedisServer::start();
    let connections = connections(1);
    let (one, other) = (bucket_of(&server.url(), &connections), bucket_of(&server.url(), &connections));
    one.set(b"a", b"1").await;
    let error = other.get_many(vec![b"a".to_vec()]).await.unwrap_err();
    assert!(
        matches!(&error, KeyvalueError::Unavailable(message) if message.contains("limits.connections")),
        "{error:?}"
    );
}
