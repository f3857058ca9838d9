//! A store for tests that waits, fails and panics when it is asked to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use reflow_tracing::storage::{FlowTrace, MemoryStorage, StorageBackend, StorageError, TraceQuery};
use reflow_tracing::{TraceEvent, TraceId};
use reflow_tracing_storage::StorageExtras;
use uuid::Uuid;

/// Memory that stores a batch of events only when it has a permit, and panics when one is of the actor `panic`.
pub(crate) struct Gated {
    pub(crate) storage: MemoryStorage,
    pub(crate) permits: Semaphore,
    /// The size of each batch of events.
    pub(crate) batches: Mutex<Vec<usize>>,
    /// How many of the next headers are turned away as if the database were down.
    pub(crate) headers_to_refuse: AtomicUsize,
    /// Whether events are turned away as if the disk were full.
    pub(crate) is_full: AtomicBool,
    /// Whether leases are turned away as if the role lacked the right.
    pub(crate) refuses_leases: AtomicBool,
    /// How many batches it claims to store at a time.
    pub(crate) concurrent_writes: AtomicUsize,
    /// The batches that have come and are not stored.
    pub(crate) under_way: AtomicUsize,
    /// How often it was asked for headers.
    pub(crate) lookups: AtomicUsize,
}

impl Gated {
    pub(crate) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            storage: MemoryStorage::new(),
            permits: Semaphore::new(permits),
            batches: Mutex::default(),
            headers_to_refuse: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            refuses_leases: AtomicBool::new(false),
            concurrent_writes: AtomicUsize::new(1),
            under_way: AtomicUsize::new(0),
            lookups: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl StorageBackend for Gated {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        let one_less = |left: usize| left.checked_sub(1);
        match self.headers_to_refuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => Err(StorageError::Unavailable("asked to be".into())),
            Err(_) => self.storage.store_trace(trace).await,
        }
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.storage.get_trace(trace_id).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.storage.query_traces(query).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.storage.get_events(trace_id).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.storage.health_check().await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.permits.acquire().await.expect("it is never closed").forget();
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.batches.lock().unwrap().push(events.len());
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StorageError::Exhausted("asked to be".into()));
        }
        assert!(events.iter().all(|(_, event)| event.actor_id != "panic"), "asked to panic");
        self.storage.store_events(events).await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.storage.get_headers(trace_ids).await
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[async_trait]
impl StorageExtras for Gated {
    fn concurrent_writes(&self) -> usize {
        self.concurrent_writes.load(Ordering::Relaxed)
    }

    async fn renew_lease(&self, _: Uuid, _: Duration) -> Result<bool, StorageError> {
        Err(match self.refuses_leases.load(Ordering::Relaxed) {
            true => StorageError::Configuration("permission denied for table lease".into()),
            false => StorageError::Unsupported("no leases".into()),
        })
    }
}
