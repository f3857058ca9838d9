//! Finds the connection that holds the most, when waiting does not help.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Budget, KIB, SMALL};

/// How long a connection waits before another one is ended, which must not have given anything back for as long.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long it waits before any other one is ended.
const AT_LAST: Duration = Duration::from_secs(10);

/// How long an ended connection has to give back what it holds before the next one is ended.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// What an account holds.
#[derive(Debug)]
pub(super) struct Held {
    kib: AtomicUsize,
    opened: Instant,
    /// When it gave something back last, in milliseconds since it was opened.
    gave_back: AtomicU64,
}

impl Held {
    pub(super) fn new() -> Self {
        Self { kib: AtomicUsize::new(0), opened: Instant::now(), gave_back: AtomicU64::new(0) }
    }

    /// In milliseconds.
    fn age(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn kib(&self) -> usize {
        self.kib.load(Relaxed)
    }

    pub(super) fn add(&self, kib: usize) {
        self.kib.fetch_add(kib, Relaxed);
    }

    pub(super) fn remove(&self, kib: usize) {
        self.kib.fetch_sub(kib, Relaxed);
        self.gave_back.store(self.age(), Relaxed);
    }

    fn is_idle(&self) -> bool {
        self.age().saturating_sub(self.gave_back.load(Relaxed)) >= PATIENCE.as_millis() as u64
    }
}

/// The accounts of open connections.
#[derive(Default)]
pub(super) struct Accounts {
    open: HashMap<u64, Entry>,
    next: u64,
    /// The account that was ended last, and when.
    ended: Option<(u64, Instant)>,
}

struct Entry {
    held: Arc<Held>,
    is_ended: watch::Sender<bool>,
}

impl Accounts {
    pub(super) fn add(&mut self, held: Arc<Held>, is_ended: watch::Sender<bool>) -> u64 {
        self.next += 1;
        self.open.insert(self.next, Entry { held, is_ended });
        self.next
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// Ends all accounts.
    pub(super) fn end_all(&self) {
        for entry in self.open.values() {
            entry.is_ended.send_replace(true);
        }
    }

    /// Tells the greediest account that it is ended. Returns what it holds.
    fn end_greediest(&mut self, waited: Duration) -> Option<usize> {
        let is_recent = |(number, at): (u64, Instant)| {
            let holds = self.open.get(&number).is_some_and(|entry| entry.held.kib() * KIB > SMALL);
            at.elapsed() < if holds { GIVING_BACK } else { PATIENCE }
        };
        if self.ended.is_some_and(is_recent) {
            return None;
        }
        let greedy = self.open.iter().filter(|(_, entry)| {
            !*entry.is_ended.borrow() && entry.held.kib() * KIB > SMALL && (entry.held.is_idle() || waited >= AT_LAST)
        });
        let (number, entry) = greedy.max_by_key(|(_, entry)| entry.held.kib())?;
        entry.is_ended.send_replace(true);
        self.ended = Some((*number, Instant::now()));
        Some(entry.held.kib() * KIB)
    }
}

impl Budget {
    /// Ends the connection that holds the most, for one that has waited so long.
    pub(super) fn end_greediest(&self, waited: Duration) {
        let ended = self.accounts().end_greediest(waited);
        if let Some(bytes) = ended {
            self.0.ended.inc();
            let (held, most) = (bytes >> 20, self.total() >> 20);
            tracing::warn!(
                "ending the connection that holds the most memory, {held} MiB: the {most} MiB of `max_buffered_mb` in `[server]` \
                 are used up"
            );
        }
    }
}
