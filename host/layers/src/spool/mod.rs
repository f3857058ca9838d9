//! Keeps writes in a queue on disk while a backend is unavailable, and stores them when it is available again.
//!
//! ```no_run
//! # async fn example() -> Result<(), reflow_tracing_storage::StorageError> {
//! # let remote = reflow_tracing_memory::MemoryStorage::new();
//! use reflow_tracing_layers::spool::{Spool, SpoolConfig};
//!
//! let storage = Spool::open(remote, "postgres", &SpoolConfig::new("spool")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Writes
//! While the backend is available, writes go to it directly, and the queue is not used. A write that fails with a transient
//! error ([`StorageError::is_retryable`]) goes to the queue, and so does every later write until the queue is empty, which
//! preserves the order. Every other error is returned to the caller.
//!
//! `Ok` of a spooled write means that it is on the local disk (SQLite, WAL, `synchronous = FULL`): it survives a crash and a
//! loss of power, and is stored after a restart. If the process dies between storing and removing a write, it is stored twice,
//! which has no effect because writes are idempotent.
//!
//! The queue is bounded ([`SpoolConfig::max_size_mb`]). While it or the disk is full, writers block; no write is rejected or
//! dropped. A write that the backend rejects permanently when it is replayed is logged and moved to the table `refused` of the
//! file.
//!
//! # Reads
//! A read never misses an acknowledged write. It waits up to five seconds until all earlier acknowledged writes are stored.
//! After that, or immediately if the backend has been unavailable for longer, it fails with [`StorageError::Pending`], which
//! says how much waits. Deletions wait like reads.
//! One read works all the time, because senders depend on it: [`get_headers`](StorageBackend::get_headers), for traces that
//! wait or were written recently. For other traces it fails once the backend has been unavailable for a quarter of a second.
//!
//! # Order
//! It is the outermost layer. It replaces [retries](super::retry), and needs a [time limit](super::timeout) inside.

mod config;
mod drain;
mod file;
mod queue;
mod record;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt};
use hashlink::LruCache;
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::layer::{
    Delete, DropOldestPartition, FlowVersions, GetEvents, GetTrace, HeaderlessTraces, Operation, QueryPage,
    QueryTraces, Stats, StreamEvents, StreamOperation, StreamTraces,
};
use reflow_tracing_storage::{
    Deletion, PageRequest, SpoolMetrics, StorageBackend, StorageBackendExt, StorageError, StorageExtras,
    StorageMetrics, StorageStats, TracePart, async_trait,
};
use tokio::sync::Notify;

pub use config::SpoolConfig;
use queue::Queue;
use record::Encoded;
use reflow_tracing_storage::task::{Supervised, TaskHealth};

/// How long a read waits for earlier writes.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the backend must be unavailable before `get_headers` stops waiting for it.
const HEADERS_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a writer waits before it retries on a full disk.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// The number of recently written headers that are cached for `get_headers`.
const RECENT: usize = 10_000;
/// How long closing waits for a batch in progress.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The layer. See the [module](self).
pub struct Spool<B> {
    core: Arc<Core<B>>,
    drain: Mutex<Option<Supervised>>,
    drain_health: TaskHealth,
}

struct Core<B> {
    inner: B,
    queue: Queue,
    away: Mutex<Option<Away>>,
    /// Lock-free copy of `away.is_some()`.
    is_away: AtomicBool,
    closed: AtomicBool,
    /// Wakes the drain: something was appended, the backend became unavailable, or the spool closes.
    work: Notify,
    /// Wakes waiting calls: the backend became unavailable or available, or the spool closes.
    news: Notify,
    recent: Mutex<LruCache<TraceId, FlowTrace>>,
    /// Why the disk has no space for an append, as of the last check.
    no_room: Mutex<Option<String>>,
}

struct Away {
    since: DateTime<Utc>,
    /// The same on the monotonic clock.
    start: Instant,
    error: String,
}

impl<B: StorageBackend + 'static> Spool<B> {
    /// Opens the spool that `config` describes in front of `inner`, whose name is `backend`. Writes that wait from before are
    /// stored.
    ///
    /// Must be called within a Tokio runtime. Fails with [`StorageError::Configuration`] if another process uses the folder or
    /// the waiting writes are for another backend, and with [`StorageError::Corrupt`] if the file is damaged.
    pub async fn open(inner: B, backend: &str, config: &SpoolConfig) -> Result<Self, StorageError> {
        let queue = Queue::open(config, backend).await?;
        let core = Arc::new(Core {
            inner,
            queue,
            away: Mutex::default(),
            is_away: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            work: Notify::new(),
            news: Notify::new(),
            recent: Mutex::new(LruCache::new(RECENT)),
            no_room: Mutex::default(),
        });
        let waiting = core.metrics();
        if !waiting.is_empty() {
            let SpoolMetrics { pending_events, pending_traces, .. } = waiting;
            tracing::info!(pending_events, pending_traces, "writes of an earlier run wait in the spool");
        }
        let drained = core.clone();
        let drain = Supervised::start("storing what is spooled", move || drain::run(drained.clone()));
        Ok(Self { core, drain_health: drain.health(), drain: Mutex::new(Some(drain)) })
    }
}

impl<B> Core<B> {
    fn away(&self) -> MutexGuard<'_, Option<Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, LruCache<TraceId, FlowTrace>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether calls go to the backend directly.
    fn is_through(&self) -> bool {
        self.queue.is_empty() && !self.is_away.load(SeqCst)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Records that the backend is unavailable, and logs it if that is new.
    fn is_away(&self, error: &StorageError) {
        let mut away = self.away();
        if let Some(away) = &mut *away {
            away.error = error.to_string();
            return;
        }
        tracing::warn!("the backend is unavailable; writes are spooled until it is back: {error}");
        *away = Some(Away { since: Utc::now(), start: Instant::now(), error: error.to_string() });
        self.is_away.store(true, SeqCst);
        drop(away);
        self.work.notify_one();
        self.news.notify_waiters();
    }

    /// Records that the backend is available.
    fn is_back(&self) {
        if !self.is_away.load(SeqCst) {
            return;
        }
        let Some(Away { start, .. }) = self.away().take() else { return };
        self.is_away.store(false, SeqCst);
        self.news.notify_waiters();
        let (seconds, events) = (start.elapsed().as_secs(), self.metrics_of_queue().pending_events);
        tracing::info!("the backend is available again after {seconds} s; {events} spooled events wait to be stored");
    }

    /// Whether the backend has been unavailable for longer than a read waits.
    fn is_away_for_long(&self) -> bool {
        self.away().as_ref().is_some_and(|away| away.start.elapsed() >= READ_TIMEOUT)
    }

    /// Waits until the backend is available, or `get_headers` must not wait any longer. Returns whether it is available.
    async fn is_back_soon(&self) -> bool {
        loop {
            let news = self.news.notified();
            let Some(left) = self.away().as_ref().map(|away| HEADERS_TIMEOUT.saturating_sub(away.start.elapsed()))
            else {
                return true;
            };
            if self.is_closed() || tokio::time::timeout(left, news).await.is_err() {
                return false;
            }
        }
    }

    /// Fills the headers at `indexes` from the cache. Returns whether all of them were cached.
    fn add_recent(&self, trace_ids: &[TraceId], indexes: &[usize], headers: &mut [Option<FlowTrace>]) -> bool {
        let mut recent = self.recent();
        for index in indexes {
            headers[*index] = recent.get(&trace_ids[*index]).cloned();
        }
        indexes.iter().all(|index| headers[*index].is_some())
    }

    /// Waits for work. Returns `false` when the spool is closed.
    async fn work_to_do(&self) -> bool {
        loop {
            if self.is_closed() {
                return false;
            }
            if !self.is_through() {
                return true;
            }
            // `Notify` keeps a permit, so a notification before this await is not lost.
            self.work.notified().await;
        }
    }

    fn metrics_of_queue(&self) -> SpoolMetrics {
        let depth = self.queue.depth();
        let mut metrics = SpoolMetrics::default();
        metrics.pending_events = depth.events.load(SeqCst);
        metrics.pending_traces = depth.traces.load(SeqCst);
        metrics.bytes = depth.kib.load(SeqCst) * 1024;
        metrics.max_bytes = depth.max_kib * 1024;
        metrics.waiting_writers = depth.waiting.load(SeqCst);
        metrics.refused = depth.refused.load(SeqCst);
        metrics
    }

    fn metrics(&self) -> SpoolMetrics {
        let mut metrics = self.metrics_of_queue();
        if let Some(away) = &*self.away() {
            metrics.away_since = Some(away.since);
            metrics.error = Some(away.error.clone());
        }
        metrics
    }

    /// The error of a read that can't be answered yet.
    fn pending(&self) -> StorageError {
        let SpoolMetrics { pending_events, pending_traces, away_since, error, .. } = self.metrics();
        let waiting = format!("{pending_events} events and {pending_traces} trace headers wait in the spool");
        StorageError::Pending(match (away_since, error) {
            (Some(since), Some(error)) => {
                format!("the backend has been unavailable since {}, and {waiting}: {error}", since.format("%FT%TZ"))
            }
            _ => format!("{waiting} and are being stored; try again later"),
        })
    }

    /// Waits until the backend has all acknowledged writes, unless it is unavailable for long.
    async fn ready(&self) -> Result<(), StorageError> {
        if self.is_through() {
            return Ok(());
        }
        let mut progress = self.queue.depth().progress.subscribe();
        let target = progress.borrow().appended;
        let drained = async {
            loop {
                let news = self.news.notified();
                if self.is_closed() || self.is_away_for_long() {
                    return false;
                }
                if progress.borrow_and_update().removed >= target && !self.is_away.load(SeqCst) {
                    return true;
                }
                tokio::select! {
                    () = news => {}
                    _ = progress.changed() => {}
                }
            }
        };
        match tokio::time::timeout(READ_TIMEOUT, drained).await {
            Ok(true) => Ok(()),
            _ if self.is_closed() => Err(queue::closed()),
            _ => Err(self.pending()),
        }
    }

    /// Waits for this time, or until the spool is closed.
    async fn pause(&self, time: Duration) {
        let news = async {
            loop {
                let news = self.news.notified();
                if self.is_closed() {
                    return;
                }
                news.await;
            }
        };
        let _ = tokio::time::timeout(time, news).await;
    }

    fn remember<'a>(&self, traces: impl IntoIterator<Item = &'a FlowTrace>) {
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
    async fn spool(&self, traces: &[FlowTrace], events: &[(TraceId, TraceEvent)]) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        events.iter().try_for_each(|(_, event)| event.validate())?;
        let record = Encoded::new(traces, events);
        let mut logged = false;
        while !self.is_closed() {
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
                    self.pause(DISK_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(queue::closed())
    }
}

impl<B: StorageBackend> Core<B> {
    /// Runs a call once the backend has all acknowledged writes.
    async fn ask<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        self.ready().await?;
        operation.run(&self.inner).await
    }

    fn ask_stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        self.ready().map_ok(|()| operation.run(&self.inner)).try_flatten_stream().boxed()
    }

    /// The header of a trace that waits in the queue.
    async fn waiting_header(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let Some(seq) = self.queue.header(trace_id) else { return Ok(None) };
        if let Some(header) = self.recent().get(&trace_id) {
            return Ok(Some(header.clone()));
        }
        // If it was stored meanwhile, the backend has it.
        let Some(row) = self.queue.read(seq).await? else { return Ok(None) };
        let traces = record::decode_traces(&row.body)
            .map_err(|_| StorageError::Corrupt(format!("record {seq} of the spool is damaged")))?;
        let header = traces.into_iter().rfind(|trace| trace.trace_id == trace_id);
        Ok(header.map(|header| FlowTrace { events: Vec::new(), ..header }))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: StorageBackend + 'static> StorageBackend for Spool<B> {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.store_traces(vec![trace]).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.core.ask(GetTrace(trace_id)).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.core.ask(QueryTraces(query)).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.core.ask(GetEvents(trace_id)).await
    }

    /// Whether the backend is there and has everything, for which it waits like a read. While it is not, writes are taken
    /// nevertheless, and this fails as [`StorageError::Pending`]; without room on the disk of the spool they are not, and it fails
    /// as [`StorageError::Exhausted`].
    async fn health_check(&self) -> Result<(), StorageError> {
        let core = &self.core;
        if let Some(problem) = self.drain_health.problem() {
            return Err(StorageError::Other { message: problem, retryable: false });
        }
        let has_room = core.queue.check().await;
        *core.no_room.lock().unwrap_or_else(PoisonError::into_inner) =
            has_room.as_ref().err().map(|error| format!("the spool could take no write: {error}"));
        let answer = match core.inner.health_check().await {
            Ok(()) => core.ready().await,
            Err(error) if error.is_retryable() => {
                core.is_away(&error);
                Err(core.pending())
            }
            // Writes go to the queue, whatever the backend says of them.
            Err(_) if !core.is_through() => Err(core.pending()),
            refused => refused,
        };
        match answer {
            Err(StorageError::Pending(_)) if !core.is_through() => has_room.and(answer),
            answer => answer,
        }
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        let core = &self.core;
        if core.is_through() {
            match core.inner.store_traces(traces.clone()).await {
                Err(error) if error.is_retryable() && !core.is_closed() => core.is_away(&error),
                Ok(()) => {
                    core.remember(&traces);
                    return Ok(());
                }
                refused => return refused,
            }
        }
        core.spool(&traces, &[]).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        let core = &self.core;
        if core.is_through() {
            match core.inner.store_events(events.clone()).await {
                Err(error) if error.is_retryable() && !core.is_closed() => core.is_away(&error),
                answer => return answer,
            }
        }
        core.spool(&[], &events).await
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        self.core.ask(QueryPage(request)).await
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        self.core.ask_stream(StreamTraces(query))
    }

    /// Headers that wait come from the queue, the others from the backend; while that is away, from what was written lately.
    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let core = &self.core;
        let mut headers = Vec::with_capacity(trace_ids.len());
        if core.queue.is_empty() {
            headers.resize(trace_ids.len(), None);
        } else {
            for trace_id in &trace_ids {
                headers.push(core.waiting_header(*trace_id).await?);
            }
        }
        let unknown: Vec<_> = (0..trace_ids.len()).filter(|place| headers[*place].is_none()).collect();
        if unknown.is_empty() {
            return Ok(headers);
        }
        for _ in 0..2 {
            if !core.is_away.load(SeqCst) {
                match core.inner.get_headers(unknown.iter().map(|place| trace_ids[*place]).collect()).await {
                    Ok(found) => {
                        for (place, header) in unknown.into_iter().zip(found) {
                            headers[place] = header;
                        }
                        return Ok(headers);
                    }
                    Err(error) if error.is_retryable() && !core.is_closed() => core.is_away(&error),
                    Err(error) => return Err(error),
                }
            }
            if core.add_recent(&trace_ids, &unknown, &mut headers) {
                return Ok(headers);
            }
            if !core.is_back_soon().await {
                break;
            }
        }
        Err(core.pending())
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        self.core.ask_stream(StreamEvents(trace_id))
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        let deleted = self.core.ask(Delete(deletion.clone())).await?;
        let mut recent = self.core.recent();
        match deletion {
            Deletion::Traces(trace_ids) => trace_ids.iter().for_each(|trace_id| drop(recent.remove(trace_id))),
            Deletion::StartedBefore(_) => recent.clear(),
        }
        Ok(deleted)
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        self.core.ask(FlowVersions(flow_id)).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.core.ask(Stats()).await
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        let mut metrics = match self.core.inner.get_metrics().await {
            // A backend without the metrics layer may fail to report its size while it is unavailable.
            Err(error) if error.is_retryable() => StorageMetrics::unmeasured(None),
            answer => answer?,
        };
        metrics.spool = Some(self.core.metrics());
        Ok(metrics)
    }

    /// Waiting writes are on the disk already.
    async fn flush(&self) -> Result<(), StorageError> {
        match self.core.inner.flush().await {
            Err(error) if error.is_retryable() && !self.core.is_through() => Ok(()),
            answer => answer,
        }
    }

    /// Waiting writes stay for the next start.
    async fn close(&self) -> Result<(), StorageError> {
        self.core.closed.store(true, SeqCst);
        self.core.work.notify_one();
        self.core.news.notify_waiters();
        let drain = self.drain.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(drain) = drain {
            drain.end_within(CLOSE_TIMEOUT).await;
        }
        let waiting = self.core.metrics();
        self.core.queue.close().await;
        if !waiting.is_empty() {
            let SpoolMetrics { pending_events, pending_traces, .. } = waiting;
            tracing::info!(pending_events, pending_traces, "writes wait in the spool for the next start");
        }
        match self.core.inner.close().await {
            Err(error) if error.is_retryable() && !waiting.is_empty() => Ok(()),
            answer => answer,
        }
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: StorageBackend + 'static> StorageExtras for Spool<B> {
    fn warnings(&self) -> Vec<String> {
        let no_room = self.core.no_room.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut warnings = self.core.inner.warnings();
        warnings.extend(no_room.into_iter().chain(self.drain_health.warning()));
        warnings
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        self.core.inner.retention_horizon()
    }

    fn concurrent_writes(&self) -> usize {
        self.core.inner.concurrent_writes()
    }

    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.core.ask(HeaderlessTraces(after, limit)).await
    }

    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        let dropped = self.core.ask(DropOldestPartition(ended_by)).await?;
        if dropped.is_some_and(|traces| traces > 0) {
            self.core.recent().clear();
        }
        Ok(dropped)
    }
}
