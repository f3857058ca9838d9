//! Background tasks that survive a panic: a supervisor restarts each task and reports its health.
//!
//! A task that dies silently is worse than a crash of the process, because everything else seems to work. So every task that
//! runs as long as a host or a store does is supervised.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The pause before the first restart. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, so that a task that dies immediately every time doesn't fill the log.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A task that ran for this long restarts with the first pause.
const STABLE: Duration = Duration::from_secs(60);
/// How long a crash stays a warning after the task was restarted.
const REMEMBERED: TimeDelta = TimeDelta::hours(1);

/// A task that is restarted when it panics, until it returns. Dropping this stops it.
pub struct Supervised {
    health: TaskHealth,
    task: Option<JoinHandle<()>>,
}

/// The health of a background task. Clones report on the same task.
#[derive(Clone)]
pub struct TaskHealth(Arc<State>);

struct State {
    name: &'static str,
    crashes: Mutex<Crashes>,
}

#[derive(Default)]
struct Crashes {
    last: Option<Crash>,
    restarts: u64,
    /// Whether the task waits to be restarted.
    is_down: bool,
}

struct Crash {
    at: DateTime<Utc>,
    reason: String,
}

impl Supervised {
    /// Starts the task that `run` returns, and restarts it when it panics. Must be called within a Tokio runtime.
    ///
    /// Share with `run` what must survive a panic, such as a queue; don't move it into the task.
    pub fn start<F>(name: &'static str, mut run: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let health = TaskHealth(Arc::new(State { name, crashes: Mutex::default() }));
        let watched = health.clone();
        let task = tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let start = Instant::now();
                // The closure may panic too.
                let outcome = AssertUnwindSafe(async { run().await }).catch_unwind().await;
                let Err(panic) = outcome else { return };
                if start.elapsed() >= STABLE {
                    pause = FIRST_PAUSE;
                }
                watched.died(panic_message(&*panic), pause);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                watched.restarted();
            }
        });
        Self { health, task: Some(task) }
    }

    /// The health of the task.
    pub fn health(&self) -> TaskHealth {
        self.health.clone()
    }

    /// Lets the task run until it returns.
    pub fn detached(mut self) -> TaskHealth {
        self.task = None;
        self.health.clone()
    }

    /// Waits until the task returns, at most for `timeout`, then stops it.
    pub async fn end_within(mut self, timeout: Duration) {
        if let Some(task) = &mut self.task {
            // After a timeout, dropping this stops the task.
            let _ = tokio::time::timeout(timeout, task).await;
        }
    }

    /// Stops the task now.
    pub fn stop(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}

impl TaskHealth {
    /// Why the task is not running; `None` while it runs.
    pub fn problem(&self) -> Option<String> {
        let crashes = self.crashes();
        let crash = crashes.last.as_ref().filter(|_| crashes.is_down)?;
        Some(format!("the background task `{}` died: {}; {}", self.0.name, crash.reason, times(crashes.restarts)))
    }

    /// A warning if the task is down, or crashed within the last hour.
    pub fn warning(&self) -> Option<String> {
        if let Some(problem) = self.problem() {
            return Some(problem);
        }
        let crashes = self.crashes();
        let crash = crashes.last.as_ref().filter(|crash| Utc::now() - crash.at < REMEMBERED)?;
        let (name, at) = (self.0.name, crash.at.format("%FT%TZ"));
        Some(format!(
            "the background task `{name}` died at {at}: {}; {}, it is running again",
            crash.reason,
            times(crashes.restarts)
        ))
    }

    fn crashes(&self) -> MutexGuard<'_, Crashes> {
        self.0.crashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn died(&self, reason: String, pause: Duration) {
        let name = self.0.name;
        // Logging may be what panicked.
        let _ = catch_unwind(|| {
            tracing::error!("the background task `{name}` died; it restarts in {pause:?}: {reason}");
        });
        let mut crashes = self.crashes();
        crashes.last = Some(Crash { at: Utc::now(), reason });
        crashes.is_down = true;
    }

    fn restarted(&self) {
        let mut crashes = self.crashes();
        crashes.restarts += 1;
        crashes.is_down = false;
    }
}

fn times(restarts: u64) -> String {
    match restarts {
        1 => "restarted once".into(),
        times => format!("restarted {times} times"),
    }
}

/// Runs one unit of work for the task `name`. A panic is logged and affects only this unit.
pub async fn contain(name: &str, work: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
        log_panic(name, &*panic);
    }
}

/// Like [`contain`], for a thread.
pub fn contain_blocking(name: &str, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        log_panic(name, &*panic);
    }
}

fn log_panic(name: &str, panic: &(dyn Any + Send)) {
    let reason = panic_message(panic);
    // Logging may be what panicked.
    let _ = catch_unwind(|| tracing::error!("{name} failed on one batch of its work: {reason}"));
}

/// The message of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked without a message".into())
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Mutex as AsyncMutex, mpsc};

    use super::*;

    /// A task that panics on a 0 and forwards every other number.
    fn passing_on() -> (mpsc::UnboundedSender<u32>, mpsc::UnboundedReceiver<u32>, Supervised) {
        let (given, queue) = mpsc::unbounded_channel();
        let (passed, out) = mpsc::unbounded_channel();
        let queue = Arc::new(AsyncMutex::new(queue));
        let task = Supervised::start("passing on", move || {
            let (queue, passed) = (queue.clone(), passed.clone());
            async move {
                let mut queue = queue.lock().await;
                while let Some(number) = queue.recv().await {
                    assert_ne!(number, 0, "a zero");
                    let _ = passed.send(number);
                }
            }
        });
        (given, out, task)
    }

    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_down_until_it_restarts_and_continues_with_its_queue() {
        let (given, mut out, task) = passing_on();
        let health = task.health();
        given.send(1).unwrap();
        assert_eq!(out.recv().await, Some(1));
        assert_eq!((health.problem(), health.warning()), (None, None));

        given.send(0).unwrap();
        given.send(2).unwrap();
        settle().await;
        let problem = health.problem().expect("it is down");
        for part in ["`passing on`", "died", "a zero", "restarted 0 times"] {
            assert!(problem.contains(part), "{part:?} is missing in: {problem}");
        }

        assert_eq!(out.recv().await, Some(2));
        assert_eq!(health.problem(), None);
        let warning = health.warning().expect("it died recently");
        assert!(warning.contains("restarted once") && warning.contains("a zero"), "{warning}");
    }

    #[tokio::test(start_paused = true)]
    async fn restarts_of_a_task_that_always_panics_become_rarer() {
        let task = Supervised::start("dying", || async { panic!("again") });
        tokio::time::sleep(Duration::from_secs(600)).await;
        let restarts = task.health().crashes().restarts;
        assert!((20..40).contains(&restarts), "{restarts} restarts in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_returns_is_neither_restarted_nor_a_problem() {
        let (given, mut out, task) = passing_on();
        drop(given);
        assert_eq!(out.recv().await, None, "the task dropped its sender");
        assert_eq!(task.health().warning(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_handle_stops_the_task() {
        let (given, mut out, task) = passing_on();
        drop(task);
        assert_eq!(out.recv().await, None);
        assert!(given.send(1).is_err());
    }
}
