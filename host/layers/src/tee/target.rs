//! A backend that gets every write, with its queue.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reflow_tracing_storage::task::{Supervised, TaskHealth};
use reflow_tracing_storage::{AlsoMetrics, StorageBackend, StorageError};

use crate::spool::core::Core;
use crate::spool::queue::Queue;
use crate::spool::record::Encoded;
use crate::spool::{SpoolConfig, drain};

/// How many rejected writes are kept for each backend; more are only counted.
pub const MAX_REFUSED: u64 = 1_000;
/// How long closing waits for a delivery in progress, and for the backend to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Target {
    name: String,
    core: Arc<Core<Arc<dyn StorageBackend>>>,
    drain: Mutex<Option<Supervised>>,
    drain_health: TaskHealth,
    dropped: Mutex<Dropped>,
}

/// Writes that the backend does not get.
#[derive(Default)]
struct Dropped {
    writes: u64,
    events: u64,
    traces: u64,
    last: Option<(DateTime<Utc>, String)>,
}

impl Target {
    pub(super) async fn open(
        name: String,
        backend: Arc<dyn StorageBackend>,
        queues: &SpoolConfig,
    ) -> Result<Self, StorageError> {
        let config = SpoolConfig { dir: queues.dir.join(&name), ..*queues };
        let mut core = Core::new(backend, Queue::open(&config, &name, "also_queue").await?);
        core.description = format!("the backend `{name}` of `also`");
        core.max_refused = MAX_REFUSED;
        let core = Arc::new(core);
        let waiting = core.metrics();
        if !waiting.is_empty() {
            let (events, traces) = (waiting.pending_events, waiting.pending_traces);
            tracing::info!(events, traces, "writes of an earlier run wait for {}", core.description);
        }
        let drained = Arc::clone(&core);
        let drain = Supervised::start("delivering to a backend of `also`", move || drain::run(Arc::clone(&drained)));
        Ok(Self { name, core, drain_health: drain.health(), drain: Mutex::new(Some(drain)), dropped: Mutex::default() })
    }

    fn dropped(&self) -> MutexGuard<'_, Dropped> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a write, or drops it when the queue is full.
    pub(super) async fn append(&self, record: &Encoded) {
        match self.core.queue.append_if_room(record).await {
            Ok(()) => self.core.work.notify_one(),
            Err(error) => self.drop_write(record, &error),
        }
    }

    fn drop_write(&self, record: &Encoded, error: &StorageError) {
        let mut dropped = self.dropped();
        dropped.writes += 1;
        dropped.events += record.events;
        dropped.traces += record.traces.len() as u64;
        dropped.last = Some((Utc::now(), error.to_string()));
        let Dropped { writes, events, traces, .. } = *dropped;
        if writes.is_power_of_two() {
            tracing::warn!(
                "{} does not get {events} events and {traces} trace headers since the start of this host: {error}",
                self.core.description
            );
        }
    }

    pub(super) fn metrics(&self) -> AlsoMetrics {
        let mut metrics = AlsoMetrics::default();
        metrics.backend.clone_from(&self.name);
        metrics.queue = self.core.metrics();
        metrics.delivered_events = self.core.delivered.events.load(Relaxed);
        metrics.delivered_traces = self.core.delivered.traces.load(Relaxed);
        metrics.failed_deliveries = self.core.delivered.failed.load(Relaxed);
        let dropped = self.dropped();
        (metrics.dropped_events, metrics.dropped_traces) = (dropped.events, dropped.traces);
        if let Some((at, reason)) = &dropped.last {
            (metrics.last_drop, metrics.drop_reason) = (Some(*at), Some(reason.clone()));
        }
        metrics
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let AlsoMetrics { queue, dropped_events, dropped_traces, last_drop, drop_reason, .. } = self.metrics();
        let backend = &self.core.description;
        let away = queue.away_since.map(|since| {
            format!(
                "{backend} is unavailable since {}; {} events and {} trace headers wait for it: {}",
                since.format("%FT%TZ"),
                queue.pending_events,
                queue.pending_traces,
                queue.error.as_deref().unwrap_or("the reason is unknown")
            )
        });
        let dropped = last_drop.map(|at| {
            format!(
                "{backend} does not get {dropped_events} events and {dropped_traces} trace headers, the last of {}: {}; \
                 copy them from the store with `reflow-tracing migrate`",
                at.format("%FT%TZ"),
                drop_reason.unwrap_or_default()
            )
        });
        let refused = (queue.refused > 0).then(|| {
            format!(
                "{backend} rejected {} writes; the table `refused` of its queue holds the first of them",
                queue.refused
            )
        });
        [away, dropped, refused, self.drain_health.warning()].into_iter().flatten().collect()
    }

    pub(super) async fn close(&self) {
        self.core.availability.close();
        self.core.work.notify_one();
        let drain = self.drain.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(drain) = drain {
            drain.end_within(CLOSE_TIMEOUT).await;
        }
        let waiting = self.core.metrics();
        self.core.queue.close().await;
        if waiting.pending_events + waiting.pending_traces > 0 {
            let (events, traces) = (waiting.pending_events, waiting.pending_traces);
            tracing::info!(events, traces, "writes wait for {} until the next start", self.core.description);
        }
        match tokio::time::timeout(CLOSE_TIMEOUT, self.core.inner.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("{} was not closed: {error}", self.core.description),
            Err(_) => tracing::warn!("{} did not close within {CLOSE_TIMEOUT:?}", self.core.description),
        }
    }
}
