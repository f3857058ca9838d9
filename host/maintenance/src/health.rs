//! Monitors the health of a store: a supervised task checks it regularly and logs changes.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::sync::Arc;
//!
//! use reflow_tracing_maintenance::health::{HealthConfig, HealthMonitor};
//! use reflow_tracing_memory::MemoryStorage;
//!
//! let monitor = HealthMonitor::start(Arc::new(MemoryStorage::new()), HealthConfig::default());
//! assert!(monitor.check().await.is_ok());
//! # }
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::time::MissedTickBehavior;

use reflow_tracing_storage::task::{Supervised, TaskHealth};
use reflow_tracing_storage::{StorageBackend, StorageError};

/// Settings of the health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthConfig {
    /// The time between two checks.
    pub interval: Duration,
    /// A check that takes longer than this fails.
    pub time_limit: Duration,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), time_limit: Duration::from_secs(10) }
    }
}

/// The result of a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The problem; `None` if the store is healthy.
    pub error: Option<String>,
    /// Whether the problem is permanent, so that writes are rejected: a spool does not keep them.
    pub refuses: bool,
    /// Since when the store has been healthy or unhealthy.
    pub since: DateTime<Utc>,
    /// The time of the check.
    pub checked_at: DateTime<Utc>,
}

impl Health {
    /// Whether the store is healthy.
    pub fn is_ok(&self) -> bool {
        self.error.is_none()
    }
}

/// Monitors a store until it is dropped.
pub struct HealthMonitor {
    monitor: Arc<Monitor>,
    task: Supervised,
}

struct Monitor {
    storage: Arc<dyn StorageBackend>,
    tasks: Vec<TaskHealth>,
    time_limit: Duration,
    /// Locked during a check. Contains the start of the last check.
    last_check: tokio::sync::Mutex<Option<Instant>>,
    health: Mutex<Option<Health>>,
}

impl HealthMonitor {
    /// Checks the store now and then at every interval. Must be called within a Tokio runtime.
    pub fn start(storage: Arc<dyn StorageBackend>, config: HealthConfig) -> Self {
        Self::with_tasks(storage, Vec::new(), config)
    }

    /// The same for a store and its background tasks: while one of them is down, the store is not healthy.
    pub fn with_tasks(storage: Arc<dyn StorageBackend>, tasks: Vec<TaskHealth>, config: HealthConfig) -> Self {
        let monitor = Arc::new(Monitor {
            storage,
            tasks,
            time_limit: config.time_limit,
            last_check: tokio::sync::Mutex::default(),
            health: Mutex::default(),
        });
        let monitored = monitor.clone();
        let task = Supervised::start("health monitor", move || {
            let monitor = monitored.clone();
            async move {
                let mut turns = tokio::time::interval(config.interval.max(Duration::from_millis(1)));
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    turns.tick().await;
                    monitor.check().await;
                }
            }
        });
        Self { monitor, task }
    }

    /// The result of the last check; `None` before the first one.
    pub fn health(&self) -> Option<Health> {
        self.monitor.health().clone()
    }

    /// Checks the store now. Concurrent callers share one check.
    pub async fn check(&self) -> Health {
        self.monitor.check().await
    }

    /// The problem of a background task that is down, if there is one. Nothing is waited for.
    pub fn task_problem(&self) -> Option<String> {
        self.monitor.task_problem().map(|problem| problem.message)
    }

    /// Warnings about the background tasks.
    pub fn warnings(&self) -> Vec<String> {
        self.monitor.tasks.iter().chain([&self.task.health()]).filter_map(TaskHealth::warning).collect()
    }
}

/// Why the store is not healthy.
struct Problem {
    message: String,
    refuses: bool,
}

impl Monitor {
    fn health(&self) -> std::sync::MutexGuard<'_, Option<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn check(&self) -> Health {
        let asked = Instant::now();
        let mut last_check = self.last_check.lock().await;
        let known = self.health().clone();
        // A check that started after this call is recent enough.
        if let Some(health) = known.filter(|_| last_check.is_some_and(|start| start >= asked)) {
            return health;
        }
        *last_check = Some(Instant::now());
        let problem = self.task_problem().or(self.store_problem().await);
        self.record(problem)
    }

    /// The problem of a background task, if there is one.
    fn task_problem(&self) -> Option<Problem> {
        let message = self.tasks.iter().find_map(TaskHealth::problem)?;
        Some(Problem { message, refuses: true })
    }

    /// The problem of the store, if there is one. A panic or a timeout counts as one.
    async fn store_problem(&self) -> Option<Problem> {
        let transient = |message: String| Some(Problem { message, refuses: false });
        let storage = self.storage.clone();
        // A separate task, so that a store that blocks its thread doesn't block the monitor.
        let mut asked = tokio::spawn(async move { storage.health_check().await });
        match tokio::time::timeout(self.time_limit, &mut asked).await {
            Ok(Ok(answer)) => answer
                .err()
                .map(|error: StorageError| Problem { message: error.to_string(), refuses: !error.is_retryable() }),
            Ok(Err(_)) => transient("the backend panicked in its health check; the log says why".into()),
            Err(_) => {
                asked.abort();
                transient(format!(
                    "the backend does not answer: its health check took longer than {:?}",
                    self.time_limit
                ))
            }
        }
    }

    /// Records the result, and logs a change.
    fn record(&self, problem: Option<Problem>) -> Health {
        let refuses = problem.as_ref().is_some_and(|problem| problem.refuses);
        let error = problem.map(|problem| problem.message);
        let now = Utc::now();
        let mut known = self.health();
        let changed = known.as_ref().is_none_or(|known| known.is_ok() != error.is_none());
        let since = known.as_ref().filter(|_| !changed).map_or(now, |known| known.since);
        match (&error, &*known) {
            (Some(error), _) if changed => tracing::warn!("the store is not healthy: {error}"),
            (None, Some(before)) if changed => {
                let seconds = (now - before.since).num_seconds();
                tracing::info!("the store is healthy again after {seconds} s");
            }
            _ => {}
        }
        known.insert(Health { error, refuses, since, checked_at: now }).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

    use async_trait::async_trait;

    use super::*;
    use reflow_tracing_storage::{FlowTrace, TraceEvent, TraceId, TraceQuery};

    const HEALTHY: u8 = 0;
    const UNAVAILABLE: u8 = 1;
    const PANICS: u8 = 2;
    const HANGS: u8 = 3;

    #[derive(Default)]
    struct Switchable {
        state: AtomicU8,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl StorageBackend for Switchable {
        async fn store_trace(&self, _: FlowTrace) -> Result<(), StorageError> {
            Ok(())
        }

        async fn get_trace(&self, _: TraceId) -> Result<Option<FlowTrace>, StorageError> {
            Ok(None)
        }

        async fn query_traces(&self, _: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
            Ok(Vec::new())
        }

        async fn store_event(&self, _: TraceId, _: TraceEvent) -> Result<(), StorageError> {
            Ok(())
        }

        async fn get_events(&self, _: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
            Ok(Vec::new())
        }

        async fn health_check(&self) -> Result<(), StorageError> {
            self.asked.fetch_add(1, SeqCst);
            match self.state.load(SeqCst) {
                UNAVAILABLE => Err(StorageError::Unavailable(format!("asked {} times", self.asked.load(SeqCst)))),
                PANICS => panic!("asked to"),
                HANGS => std::future::pending().await,
                _ => Ok(()),
            }
        }
    }

    fn start() -> (Arc<Switchable>, HealthMonitor) {
        let store = Arc::new(Switchable::default());
        let config = HealthConfig { interval: Duration::from_secs(30), time_limit: Duration::from_secs(10) };
        (store.clone(), HealthMonitor::start(store, config))
    }

    #[tokio::test(start_paused = true)]
    async fn checks_continue_after_a_panic_and_a_hang() {
        let (store, monitor) = start();
        for (state, part) in
            [(HEALTHY, None), (PANICS, Some("panicked")), (HANGS, Some("does not answer")), (HEALTHY, None)]
        {
            store.state.store(state, SeqCst);
            let before = store.asked.load(SeqCst);
            tokio::time::sleep(Duration::from_secs(50)).await;
            assert!(store.asked.load(SeqCst) > before, "the health checks stopped");
            let error = monitor.health().unwrap().error;
            match part {
                Some(part) => assert!(error.as_ref().is_some_and(|error| error.contains(part)), "{error:?}"),
                None => assert_eq!(error, None),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn since_does_not_change_with_the_error_message() {
        let (store, monitor) = start();
        assert!(monitor.check().await.is_ok());
        store.state.store(UNAVAILABLE, SeqCst);
        let first = monitor.check().await;
        let second = monitor.check().await;
        assert_ne!(first.error, second.error);
        assert_eq!(first.since, second.since);
        store.state.store(HEALTHY, SeqCst);
        let well = monitor.check().await;
        assert!(well.is_ok() && well.since > first.since, "{well:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_callers_share_a_check() {
        let (store, monitor) = start();
        store.state.store(HANGS, SeqCst);
        let start = tokio::time::Instant::now();
        let asked: Vec<_> = (0..20).map(|_| monitor.check()).collect();
        let found = futures::future::join_all(asked).await;
        assert!(found.iter().all(|health| !health.is_ok()));
        assert!(start.elapsed() <= Duration::from_secs(21), "{:?}", start.elapsed());
    }
}
