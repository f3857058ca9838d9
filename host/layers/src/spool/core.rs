//! The state of a spool, which its calls and its background task share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt};
use hashlink::LruCache;
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
use reflow_tracing_storage::layer::{Operation, StreamOperation};
use reflow_tracing_storage::{SpoolMetrics, StorageBackend, StorageError};
use tokio::sync::Notify;

use super::availability::{Availability, Outage};
use super::queue::{Queue, closed};
use super::record::{Encoded, decode_traces};

/// How long a read waits for earlier writes.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a writer waits before it retries on a full disk.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// The number of recently written headers that are cached for `get_headers`.
const RECENT: usize = 10_000;

pub(crate) struct Core<B> {
    pub inner: B,
    pub queue: Queue,
    pub availability: Availability,
    /// Wakes the drain: something was appended, the backend became unavailable, or the spool closes.
    pub work: Notify,
    pub delivered: Delivered,
    /// The backend, for the log.
    pub(crate) description: String,
    /// How many rejected writes are kept; more are only counted.
    pub(crate) max_refused: u64,
    recent: Mutex<LruCache<TraceId, FlowTrace>>,
}

/// What the drain did.
#[derive(Default)]
pub(crate) struct Delivered {
    pub events: AtomicU64,
    pub traces: AtomicU64,
    /// Attempts that failed and are repeated.
    pub failed: AtomicU64,
}

impl<B> Core<B> {
    pub(crate) fn new(inner: B, queue: Queue) -> Self {
        let recent = Mutex::new(LruCache::new(RECENT));
        Self {
            inner,
            queue,
            availability: Availability::default(),
            work: Notify::new(),
            delivered: Delivered::default(),
            description: "the backend".into(),
            max_refused: u64::MAX,
            recent,
        }
    }

    pub(crate) fn recent(&self) -> MutexGuard<'_, LruCache<TraceId, FlowTrace>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether calls go to the backend directly.
    pub(crate) fn is_through(&self) -> bool {
        self.queue.is_empty() && !self.availability.is_away()
    }

    /// Records that the backend is unavailable, and logs it if that is new.
    pub(crate) fn is_away(&self, error: &StorageError) {
        self.delivered.failed.fetch_add(1, Relaxed);
        if self.availability.lost(error) {
            let backend = &self.description;
            tracing::warn!("{backend} is unavailable; writes are spooled until it is back: {error}");
            self.work.notify_one();
        }
    }

    /// Records that the backend is available, and logs it if that is new.
    pub(crate) fn is_back(&self) {
        let Some(Outage { start, .. }) = self.availability.restored() else { return };
        let (seconds, events) = (start.elapsed().as_secs(), self.queue.depth().metrics().pending_events);
        let backend = &self.description;
        tracing::info!("{backend} is available again after {seconds} s; {events} spooled events wait to be stored");
    }

    /// Waits for work. Returns `false` when the spool is closed.
    pub(crate) async fn work_to_do(&self) -> bool {
        while !self.availability.is_closed() {
            if !self.is_through() {
                return true;
            }
            // `Notify` keeps a permit, so a notification before this await is not lost.
            self.work.notified().await;
        }
        false
    }

    pub(crate) fn metrics(&self) -> SpoolMetrics {
        let mut metrics = self.queue.depth().metrics();
        if let Some(Outage { since, error, .. }) = self.availability.outage() {
            (metrics.away_since, metrics.error) = (Some(since), Some(error));
        }
        metrics
    }

    /// The error of a read that can't be answered yet.
    pub(crate) fn pending(&self) -> StorageError {
        let SpoolMetrics { pending_events, pending_traces, away_since, error, .. } = self.metrics();
        let waiting = format!("{pending_events} events and {pending_traces} trace headers wait in the spool");
        StorageError::Pending(match (away_since, error) {
            (Some(since), Some(error)) => {
                format!("the backend has been unavailable since {}, and {waiting}: {error}", since.format("%FT%TZ"))
            }
            _ => format!("{waiting} and are being stored; try again later"),
        })
    }

    /// Waits until the backend has all acknowledged writes, unless it has been unavailable for long.
    pub(crate) async fn ready(&self) -> Result<(), StorageError> {
        if self.is_through() {
            return Ok(());
        }
        let Availability { changed, .. } = &self.availability;
        let mut progress = self.queue.depth().progress.subscribe();
        let target = progress.borrow().appended;
        let drained = async {
            loop {
                let changed = changed.notified();
                let outage = self.availability.outage();
                if self.availability.is_closed()
                    || outage.as_ref().is_some_and(|outage| outage.start.elapsed() >= READ_TIMEOUT)
                {
                    return false;
                }
                if progress.borrow_and_update().removed >= target && outage.is_none() {
                    return true;
                }
                tokio::select! {
                    () = changed => {}
                    _ = progress.changed() => {}
                }
            }
        };
        match tokio::time::timeout(READ_TIMEOUT, drained).await {
            Ok(true) => Ok(()),
            _ if self.availability.is_closed() => Err(closed()),
            _ => Err(self.pending()),
        }
    }

    /// Caches the headers of traces.
    pub(crate) fn remember(&self, traces: &[FlowTrace]) {
        let mut recent = self.recent();
        for trace in traces {
            let header = FlowTrace {
                events: Vec::new(),
                flow_id: trace.flow_id.clone(),
                version: trace.version.clone(),
                status: trace.status.clone(),
                metadata: trace.metadata.clone(),
                more: trace.more.clone(),
                ..*trace
            };
            recent.insert(trace.trace_id, header);
        }
    }

    /// Appends a write to the queue, and waits as long as that takes.
    pub(crate) async fn spool(
        &self,
        traces: &[FlowTrace],
        events: &[(TraceId, TraceEvent)],
    ) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        events.iter().try_for_each(|(_, event)| event.validate())?;
        let record = Encoded::new(traces, events);
        let mut logged = false;
        while !self.availability.is_closed() {
            match self.queue.append(&record).await {
                Ok(()) => {
                    self.remember(traces);
                    self.work.notify_one();
                    return Ok(());
                }
                // The local disk is full. The backend may become available, or space may be freed.
                Err(StorageError::Exhausted(problem)) => {
                    if !std::mem::replace(&mut logged, true) {
                        tracing::warn!("a writer waits for space in the spool: {problem}");
                    }
                    let _waiting = self.queue.wait();
                    self.availability.pause(DISK_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(closed())
    }
}

impl<B: StorageBackend> Core<B> {
    /// Runs a call on the backend now. Returns `None` if the backend is unavailable.
    pub(crate) async fn attempt<O: Operation>(&self, operation: O) -> Option<Result<O::Output, StorageError>> {
        match operation.run(&self.inner).await {
            Err(error) if error.is_retryable() && !self.availability.is_closed() => {
                self.is_away(&error);
                None
            }
            outcome => Some(outcome),
        }
    }

    /// Runs a call if the backend has all acknowledged writes now. Fails with [`StorageError::Pending`] otherwise.
    pub(crate) async fn pass<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        match self.is_through() {
            true => self.attempt(operation).await.unwrap_or_else(|| Err(self.pending())),
            false => Err(self.pending()),
        }
    }

    /// Runs a call once the backend has all acknowledged writes.
    pub(crate) async fn ask<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        self.ready().await?;
        operation.run(&self.inner).await
    }

    pub(crate) fn ask_stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        self.ready().map_ok(|()| operation.run(&self.inner)).try_flatten_stream().boxed()
    }

    /// The header of a trace that waits in the queue.
    pub(crate) async fn waiting_header(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let Some(seq) = self.queue.header(trace_id) else { return Ok(None) };
        if let Some(header) = self.recent().get(&trace_id) {
            return Ok(Some(header.clone()));
        }
        // If it was stored meanwhile, the backend has it.
        let Some(row) = self.queue.read(seq).await? else { return Ok(None) };
        let traces = decode_traces(&row.body)
            .map_err(|_| StorageError::Corrupt(format!("record {seq} of the spool is damaged")))?;
        let header = traces.into_iter().rfind(|trace| trace.trace_id == trace_id);
        Ok(header.map(|header| FlowTrace { events: Vec::new(), ..header }))
    }
}
