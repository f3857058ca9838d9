//! Whether the backend is available, as far as the calls to it show.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reflow_tracing_storage::StorageError;
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Availability {
    outage: Mutex<Option<Outage>>,
    /// Lock-free copy of `outage.is_some()`.
    is_away: AtomicBool,
    is_closed: AtomicBool,
    /// Wakes waiting calls: the backend became unavailable or available, or the spool closes.
    pub changed: Notify,
}

#[derive(Clone)]
pub(crate) struct Outage {
    pub since: DateTime<Utc>,
    /// The same on the monotonic clock.
    pub start: Instant,
    pub error: String,
}

impl Availability {
    fn outage_mut(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current outage; `None` while the backend is available.
    pub(crate) fn outage(&self) -> Option<Outage> {
        self.outage_mut().clone()
    }

    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(SeqCst)
    }

    /// Records that the backend is unavailable. Returns whether that is new.
    pub(crate) fn lost(&self, error: &StorageError) -> bool {
        let mut outage = self.outage_mut();
        if let Some(outage) = &mut *outage {
            outage.error = error.to_string();
            return false;
        }
        *outage = Some(Outage { since: Utc::now(), start: Instant::now(), error: error.to_string() });
        self.is_away.store(true, SeqCst);
        drop(outage);
        self.changed.notify_waiters();
        true
    }

    /// Records that the backend is available. Returns the outage that ended.
    pub(crate) fn restored(&self) -> Option<Outage> {
        let ended = if self.is_away() { self.outage_mut().take() } else { None };
        if ended.is_some() {
            self.is_away.store(false, SeqCst);
            self.changed.notify_waiters();
        }
        ended
    }

    /// Waits until the backend is available, or its outage lasts for `limit`. Returns whether it is available.
    pub(crate) async fn is_back_within(&self, limit: Duration) -> bool {
        loop {
            let changed = self.changed.notified();
            let Some(Outage { start, .. }) = self.outage() else { return true };
            let left = limit.saturating_sub(start.elapsed());
            if self.is_closed() || tokio::time::timeout(left, changed).await.is_err() {
                return false;
            }
        }
    }

    /// Waits for this time, or until the spool is closed.
    pub(crate) async fn pause(&self, time: Duration) {
        let closed = async {
            loop {
                let changed = self.changed.notified();
                if self.is_closed() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(time, closed).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Records that the spool closes.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.changed.notify_waiters();
    }
}
