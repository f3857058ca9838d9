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

mod availability;
mod config;
pub(crate) mod core;
pub(crate) mod drain;
pub(crate) mod file;
pub(crate) mod queue;
pub(crate) mod record;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_storage::layer::{
    AbandonedTraces, BeginTraces, Delete, DropOldestPartition, FlowVersions, GetEvents, GetHeaders, GetTrace,
    HeaderlessTraces, LeaveTraces, QueryPage, QueryTraces, RenewLease, Stats, StoreEvents, StoreTraces, StreamEvents,
    StreamTraces,
};
use reflow_tracing_storage::task::{Supervised, TaskHealth};
use reflow_tracing_storage::{
    Deletion, PageRequest, SpoolMetrics, StorageBackend, StorageBackendExt, StorageError, StorageExtras,
    StorageMetrics, StorageStats, TracePart, async_trait,
};
use uuid::Uuid;

use self::core::Core;
pub use config::SpoolConfig;
use queue::Queue;

/// How long the backend must be unavailable before `get_headers` stops waiting for it.
const HEADERS_TIMEOUT: Duration = Duration::from_millis(250);
/// How long closing waits for a batch in progress.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The layer. See the [module](self).
pub struct Spool<B> {
    core: Arc<Core<B>>,
    drain: Mutex<Option<Supervised>>,
    drain_health: TaskHealth,
    /// Why the disk has no space for an append, as of the last check.
    no_room: Mutex<Option<String>>,
}

impl<B: StorageBackend + 'static> Spool<B> {
    /// Opens the spool that `config` describes in front of `inner`, whose name is `backend`. Writes that wait from before are
    /// stored.
    ///
    /// Must be called within a Tokio runtime. Fails with [`StorageError::Configuration`] if another process uses the folder or
    /// the waiting writes are for another backend, and with [`StorageError::Corrupt`] if the file is damaged.
    pub async fn open(inner: B, backend: &str, config: &SpoolConfig) -> Result<Self, StorageError> {
        let core = Arc::new(Core::new(inner, Queue::open(config, backend, "spool").await?));
        let waiting = core.metrics();
        if !waiting.is_empty() {
            let SpoolMetrics { pending_events, pending_traces, .. } = waiting;
            tracing::info!(pending_events, pending_traces, "writes of an earlier run wait in the spool");
        }
        let drained = core.clone();
        let drain = Supervised::start("storing what is spooled", move || drain::run(drained.clone()));
        Ok(Self { core, drain_health: drain.health(), drain: Mutex::new(Some(drain)), no_room: Mutex::default() })
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

    /// Whether the backend is available and has all acknowledged writes; waits for them like a read. Otherwise fails with
    /// [`StorageError::Pending`] if the spool can take writes, and with [`StorageError::Exhausted`] if its disk is full.
    async fn health_check(&self) -> Result<(), StorageError> {
        let core = &self.core;
        if let Some(problem) = self.drain_health.problem() {
            return Err(StorageError::Other { message: problem, retryable: false });
        }
        let has_room = core.queue.check().await;
        *self.no_room.lock().unwrap_or_else(PoisonError::into_inner) =
            has_room.as_ref().err().map(|error| format!("the spool could take no write: {error}"));
        let answer = match core.inner.health_check().await {
            Ok(()) => core.ready().await,
            Err(error) if error.is_retryable() => {
                core.is_away(&error);
                Err(core.pending())
            }
            // Writes go to the queue regardless.
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
        if core.is_through()
            && let Some(outcome) = core.attempt(StoreTraces(traces.clone())).await
        {
            if outcome.is_ok() {
                core.remember(&traces);
            }
            return outcome;
        }
        core.spool(&traces, &[]).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        let core = &self.core;
        if core.is_through()
            && let Some(outcome) = core.attempt(StoreEvents(events.clone())).await
        {
            return outcome;
        }
        core.spool(&[], &events).await
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        self.core.ask(QueryPage(request)).await
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        self.core.ask_stream(StreamTraces(query))
    }

    /// Takes waiting headers from the queue and the others from the backend, or from the cache while that is unavailable.
    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let core = &self.core;
        let mut headers = vec![None; trace_ids.len()];
        if !core.queue.is_empty() {
            for (header, trace_id) in headers.iter_mut().zip(&trace_ids) {
                *header = core.waiting_header(*trace_id).await?;
            }
        }
        let unknown: Vec<_> = (0..trace_ids.len()).filter(|index| headers[*index].is_none()).collect();
        if unknown.is_empty() {
            return Ok(headers);
        }
        for _ in 0..2 {
            let ids = || unknown.iter().map(|index| trace_ids[*index]);
            let found =
                if core.availability.is_away() { None } else { core.attempt(GetHeaders(ids().collect())).await };
            let found = match found {
                Some(found) => Some(found?),
                None => {
                    let mut recent = core.recent();
                    ids().map(|trace_id| recent.get(&trace_id).cloned().map(Some)).collect()
                }
            };
            if let Some(found) = found {
                for (index, header) in unknown.into_iter().zip(found) {
                    headers[index] = header;
                }
                return Ok(headers);
            }
            if !core.availability.is_back_within(HEADERS_TIMEOUT).await {
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
        self.core.availability.close();
        self.core.work.notify_one();
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
        let no_room = self.no_room.lock().unwrap_or_else(PoisonError::into_inner).clone();
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

    /// While writes wait in the spool, the backend can't be told. The lease expires if that lasts.
    async fn renew_lease(&self, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
        self.core.pass(RenewLease(host, duration)).await
    }

    async fn begin_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.core.pass(BeginTraces(host, headers.clone())).await?;
        self.core.remember(&headers);
        Ok(())
    }

    async fn leave_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.core.pass(LeaveTraces(host, headers)).await
    }

    async fn abandoned_traces(&self, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
        self.core.pass(AbandonedTraces(limit)).await
    }
}
