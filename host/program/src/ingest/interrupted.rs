//! The ends of traces that nobody sends any more: their clients went away, or the host that received them did.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use reflow_tracing::storage::{StorageBackendExt, StorageError};
use reflow_tracing::{TraceEvent, TraceId};
use tokio::time::Instant;
use uuid::Uuid;

use super::guard;
use super::headers::Headers;
use super::open_trace::OpenTrace;
use super::open_traces::{GRACE, OpenTraces};

/// The tag of a trace that its clients did not end. Its value says why it ended.
pub const INTERRUPTED_TAG: &str = "reflow.interrupted";

/// How often the host looks for traces whose clients went away.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often it compares headers with the store's, and looks for traces whose host went away.
const LONG_INTERVAL: Duration = Duration::from_secs(5);

/// How long other hosts take this one to be alive after it last said so.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// How often it says so.
const RENEWAL: Duration = Duration::from_secs(5);

/// The traces of hosts that went away that are ended in one round.
const ENDED_AT_ONCE: usize = 1_000;

/// Whether the end of a trace can be stored later: the store is away, or full.
pub(super) fn may_pass(error: &StorageError) -> bool {
    error.is_retryable() || matches!(error, StorageError::Exhausted(_))
}

/// What ends the traces that nobody sends any more. Clones are the same.
#[derive(Clone)]
pub(super) struct Interrupted {
    headers: Headers,
    open: OpenTraces,
    /// Since when this host has had a valid lease.
    leased_since: Arc<Mutex<Option<Instant>>>,
}

impl Interrupted {
    pub(super) fn new(headers: Headers, open: OpenTraces) -> Self {
        Self { headers, open, leased_since: Arc::default() }
    }

    /// Ends what is interrupted, for ever.
    pub(super) async fn watch(self) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.end(GRACE, "the connections ended before the trace did").await;
            if last.elapsed() >= LONG_INTERVAL {
                last = Instant::now();
                self.refresh().await;
                self.end_abandoned().await;
            }
        }
    }

    /// Tells other hosts that this one is alive, for ever.
    pub(super) async fn keep_lease(self) {
        while self.headers.has_leases() {
            match self.headers.renew_lease(LEASE).await {
                Ok(Some(was_valid)) => self.leased(was_valid).await,
                Ok(None) => *self.leased_since() = None,
                Err(error) => {
                    *self.leased_since() = None;
                    tracing::warn!("the lease of this host on the traces that it receives was not renewed: {error}");
                }
            }
            tokio::time::sleep(RENEWAL).await;
        }
        std::future::pending().await
    }

    fn leased_since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.leased_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn leased(&self, was_valid: bool) {
        {
            let mut since = self.leased_since();
            if !was_valid || since.is_none() {
                *since = Some(Instant::now());
            }
        }
        if was_valid {
            return;
        }
        // Other hosts may have ended what this one receives.
        for trace in self.open.all() {
            if let Err(error) = self.headers.hold_again(&trace).await {
                tracing::warn!(trace_id = %trace.trace_id, "the trace was not held again: {error}");
            }
        }
    }

    /// Ends the traces whose last connection left at least `grace` ago.
    pub(super) async fn end(&self, grace: Duration, reason: &str) {
        let mut postponed: Option<(usize, StorageError)> = None;
        for trace in self.open.interrupted(grace) {
            let trace_id = trace.trace_id;
            let _lock = trace.storing.lock().await;
            if !self.open.is_left(trace_id) {
                continue;
            }
            match self.headers.interrupt(&trace, reason).await {
                Err(error) if may_pass(&error) => {
                    postponed = Some((postponed.map_or(0, |(traces, _)| traces) + 1, error));
                    self.open.postpone(trace_id);
                }
                Err(error) => {
                    tracing::error!(%trace_id, "the end of an interrupted trace was not stored: {error}");
                    self.open.forget(trace_id);
                }
                Ok(()) => self.open.forget(trace_id),
            }
        }
        if let Some((traces, error)) = postponed {
            tracing::warn!(
                traces,
                "the ends of interrupted traces were not stored yet, the last of them because: {error}"
            );
        }
    }

    async fn refresh(&self) {
        let changed = self.open.all().into_iter().filter(|trace| trace.is_shared && trace.take_changed());
        for trace in changed {
            if let Err(error) = self.headers.refresh(&trace).await {
                tracing::debug!(trace_id = %trace.trace_id, "the header was not compared with the store's: {error}");
            }
        }
    }

    /// Ends the traces of hosts that went away.
    async fn end_abandoned(&self) {
        // After an outage of the store, every other host has had the time to renew its lease.
        if self.leased_since().is_none_or(|since| since.elapsed() < LEASE) {
            return;
        }
        let abandoned = self.headers.with_leases(self.headers.storage.abandoned_traces(ENDED_AT_ONCE)).await;
        let abandoned = match abandoned {
            Ok(abandoned) => abandoned.unwrap_or_default(),
            Err(error) => {
                tracing::warn!("the traces of hosts that went away were not looked for: {error}");
                return;
            }
        };
        for (host, trace_id) in abandoned {
            match self.end_one(host, trace_id).await {
                Ok(()) => tracing::info!(%trace_id, %host, "ended a trace of a host that went away"),
                Err(error) => {
                    tracing::warn!(%trace_id, %host, "a trace of a host that went away was not ended: {error}")
                }
            }
        }
    }

    async fn end_one(&self, host: Uuid, trace_id: TraceId) -> Result<(), StorageError> {
        let storage = &self.headers.storage;
        let known = guard(storage.get_headers(vec![trace_id])).await?.pop().flatten();
        let trace = OpenTrace::new(trace_id, true, Default::default());
        if known.as_ref().is_none_or(|header| header.end_time.is_none()) {
            let note = async |(), event: TraceEvent| {
                trace.event_stored(event.timestamp, None);
                Ok(())
            };
            storage.stream_events(trace_id).try_fold((), note).await?;
        }
        if let Some(known) = known {
            trace.set_header(known, true);
        }
        let header = match trace.is_empty() {
            // It was deleted.
            true => trace.provisional(),
            false => trace.interrupted("the host that received the trace went away before the trace ended"),
        };
        self.headers.leave(host, vec![header]).await
    }
}
