//! Watches over the health of a store: a task that asks regularly, survives whatever the store does, and logs a change once.
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

/// How the health of a store is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthConfig {
    /// The time from one look to the next.
    pub interval: Duration,
    /// A store that does not answer for so long is not healthy.
    pub time_limit: Duration,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), time_limit: Duration::from_secs(10) }
    }
}

/// How a store was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is wrong; `None` when nothing is.
    pub error: Option<String>,
    /// Whether writes are refused for it, rather than late: a spool takes none for it either.
    pub refuses: bool,
    /// Since when it is well, or not.
    pub since: DateTime<Utc>,
    /// When that was found.
    pub checked_at: DateTime<Utc>,
}

impl Health {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.error.is_none()
    }
}

/// Watches over a store until it is dropped.
pub struct HealthMonitor {
    watch: Arc<Watch>,
    task: Supervised,
}

struct Watch {
    storage: Arc<dyn StorageBackend>,
    tasks: Vec<TaskHealth>,
    time_limit: Duration,
    /// Held while somebody looks; when the last look ended.
    looking: tokio::sync::Mutex<Option<Instant>>,
    health: Mutex<Option<Health>>,
}

impl HealthMonitor {
    /// Looks now and then at every interval. Must be called within a Tokio runtime.
    pub fn start(storage: Arc<dyn StorageBackend>, config: HealthConfig) -> Self {
        Self::with_tasks(storage, Vec::new(), config)
    }

    /// The same for a store and the background tasks that work on it: while one of them is down, all is not well.
    pub fn with_tasks(storage: Arc<dyn StorageBackend>, tasks: Vec<TaskHealth>, config: HealthConfig) -> Self {
        let watch = Arc::new(Watch {
            storage,
            tasks,
            time_limit: config.time_limit,
            looking: tokio::sync::Mutex::default(),
            health: Mutex::default(),
        });
        let looking = watch.clone();
        let task = Supervised::start("watching the health of the store", move || {
            let watch = looking.clone();
            async move {
                let mut turns = tokio::time::interval(config.interval.max(Duration::from_millis(1)));
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    turns.tick().await;
                    watch.look().await;
                }
            }
        });
        Self { watch, task }
    }

    /// What the last look found; `None` before the first has ended.
    pub fn health(&self) -> Option<Health> {
        self.watch.health().clone()
    }

    /// Looks now. Those who ask while somebody looks share what the next look finds.
    pub async fn check(&self) -> Health {
        self.watch.look().await
    }

    /// What an operator should know of the background tasks.
    pub fn warnings(&self) -> Vec<String> {
        self.watch.tasks.iter().chain([&self.task.health()]).filter_map(TaskHealth::warning).collect()
    }
}

/// What is wrong.
struct Problem {
    message: String,
    refuses: bool,
}

impl Watch {
    fn health(&self) -> std::sync::MutexGuard<'_, Option<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self) -> Health {
        let asked = Instant::now();
        let mut looking = self.looking.lock().await;
        let known = self.health().clone();
        // A look that began after the question was asked took the lock after this one queued for it.
        if let Some(health) = known.filter(|_| looking.is_some_and(|begun| begun >= asked)) {
            return health;
        }
        *looking = Some(Instant::now());
        let problem = self.task_problem().or(self.ask().await);
        self.note(problem)
    }

    /// What is wrong with the tasks.
    fn task_problem(&self) -> Option<Problem> {
        let message = self.tasks.iter().find_map(TaskHealth::problem)?;
        Some(Problem { message, refuses: true })
    }

    /// What is wrong with the store. A panic or a hang of the store is.
    async fn ask(&self) -> Option<Problem> {
        let late = |message: String| Some(Problem { message, refuses: false });
        let storage = self.storage.clone();
        // A task of its own: a store that blocks its thread blocks no watch.
        let mut asked = tokio::spawn(async move { storage.health_check().await });
        match tokio::time::timeout(self.time_limit, &mut asked).await {
            Ok(Ok(answer)) => answer
                .err()
                .map(|error: StorageError| Problem { message: error.to_string(), refuses: !error.is_retryable() }),
            Ok(Err(_)) => late("the backend panicked when it was asked for its health; its log says why".into()),
            Err(_) => {
                asked.abort();
                late(format!("the backend does not answer; it was asked for its health {:?} ago", self.time_limit))
            }
        }
    }

    /// Notes what was found, and logs it if that is a change.
    fn note(&self, problem: Option<Problem>) -> Health {
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
                tracing::info!("the store is healthy again, after {seconds} s");
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

    const WELL: u8 = 0;
    const AWAY: u8 = 1;
    const PANICS: u8 = 2;
    const HANGS: u8 = 3;

    #[derive(Default)]
    struct Moody {
        mood: AtomicU8,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl StorageBackend for Moody {
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
            match self.mood.load(SeqCst) {
                AWAY => Err(StorageError::Unavailable(format!("asked {} times", self.asked.load(SeqCst)))),
                PANICS => panic!("asked to"),
                HANGS => std::future::pending().await,
                _ => Ok(()),
            }
        }
    }

    fn start() -> (Arc<Moody>, HealthMonitor) {
        let store = Arc::new(Moody::default());
        let config = HealthConfig { interval: Duration::from_secs(30), time_limit: Duration::from_secs(10) };
        (store.clone(), HealthMonitor::start(store, config))
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_asking_whatever_the_store_does() {
        let (store, monitor) = start();
        for (mood, part) in [(WELL, None), (PANICS, Some("panicked")), (HANGS, Some("does not answer")), (WELL, None)] {
            store.mood.store(mood, SeqCst);
            let before = store.asked.load(SeqCst);
            tokio::time::sleep(Duration::from_secs(50)).await;
            assert!(store.asked.load(SeqCst) > before, "it is not asked any more");
            let error = monitor.health().unwrap().error;
            match part {
                Some(part) => assert!(error.as_ref().is_some_and(|error| error.contains(part)), "{error:?}"),
                None => assert_eq!(error, None),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_lasts_while_its_reason_changes() {
        let (store, monitor) = start();
        assert!(monitor.check().await.is_ok());
        store.mood.store(AWAY, SeqCst);
        let first = monitor.check().await;
        let second = monitor.check().await;
        assert_ne!(first.error, second.error);
        assert_eq!(first.since, second.since);
        store.mood.store(WELL, SeqCst);
        let well = monitor.check().await;
        assert!(well.is_ok() && well.since > first.since, "{well:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_together_don_t_wait_for_one_another() {
        let (store, monitor) = start();
        store.mood.store(HANGS, SeqCst);
        let begun = tokio::time::Instant::now();
        let asked: Vec<_> = (0..20).map(|_| monitor.check()).collect();
        let found = futures::future::join_all(asked).await;
        assert!(found.iter().all(|health| !health.is_ok()));
        assert!(begun.elapsed() <= Duration::from_secs(21), "{:?}", begun.elapsed());
    }
}
