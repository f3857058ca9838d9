//! Background tasks that survive a panic: each is started again, and tells whoever asks how it is.
//!
//! A task that dies in silence is worse than a process that dies: everything goes on except what the task did. So what runs
//! for as long as a host or a store does runs here.

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
/// The longest pause: a task that dies at once, every time, does not fill the log.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A task that ran for so long starts again with the first pause.
const STEADY: Duration = Duration::from_secs(60);
/// How long a death stays among the warnings once the task is at work again.
const REMEMBERED: TimeDelta = TimeDelta::hours(1);

/// A task that is started again when it panics, until it returns. Dropping this ends it.
pub struct Supervised {
    health: TaskHealth,
    task: Option<JoinHandle<()>>,
}

/// How a background task is. Clones tell of the same task.
#[derive(Clone)]
pub struct TaskHealth(Arc<State>);

struct State {
    name: &'static str,
    deaths: Mutex<Deaths>,
}

#[derive(Default)]
struct Deaths {
    last: Option<Death>,
    restarts: u64,
    /// Whether it waits to be started again.
    is_down: bool,
}

struct Death {
    at: DateTime<Utc>,
    reason: String,
}

impl Supervised {
    /// Starts what `run` gives, and again whenever it panics. Must be called within a Tokio runtime.
    ///
    /// What must outlive a panic, a queue for example, is to be shared with `run` rather than moved into what it gives.
    pub fn start<F>(name: &'static str, mut run: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let health = TaskHealth(Arc::new(State { name, deaths: Mutex::default() }));
        let watched = health.clone();
        let task = tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let begun = Instant::now();
                // The closure may panic too.
                let outcome = AssertUnwindSafe(async { run().await }).catch_unwind().await;
                let Err(panic) = outcome else { return };
                if begun.elapsed() >= STEADY {
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

    /// How it is, for those who ask later.
    pub fn health(&self) -> TaskHealth {
        self.health.clone()
    }

    /// Lets it run until it returns by itself.
    pub fn detached(mut self) -> TaskHealth {
        self.task = None;
        self.health.clone()
    }

    /// Waits until it returns, but no longer than `patience`; then ends it.
    pub async fn end_within(mut self, patience: Duration) {
        if let Some(task) = &mut self.task {
            // Out of time: dropping this ends it.
            let _ = tokio::time::timeout(patience, task).await;
        }
    }

    /// Ends it now.
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
    /// Why the task does not do its work now; `None` while it does.
    pub fn problem(&self) -> Option<String> {
        let deaths = self.deaths();
        let death = deaths.last.as_ref().filter(|_| deaths.is_down)?;
        Some(format!("the background task `{}` died: {}; {}", self.0.name, death.reason, times(deaths.restarts)))
    }

    /// What an operator should know of the task: that it is down, or that it died lately.
    pub fn warning(&self) -> Option<String> {
        if let Some(problem) = self.problem() {
            return Some(problem);
        }
        let deaths = self.deaths();
        let death = deaths.last.as_ref().filter(|death| Utc::now() - death.at < REMEMBERED)?;
        let (name, at) = (self.0.name, death.at.format("%FT%TZ"));
        Some(format!(
            "the background task `{name}` died at {at}: {}; {}, it is at work again",
            death.reason,
            times(deaths.restarts)
        ))
    }

    fn deaths(&self) -> MutexGuard<'_, Deaths> {
        self.0.deaths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn died(&self, reason: String, pause: Duration) {
        let name = self.0.name;
        // Logging may be what panicked.
        let _ = catch_unwind(|| {
            tracing::error!("the background task `{name}` died and is restarted in {pause:?}: {reason}");
        });
        let mut deaths = self.deaths();
        deaths.last = Some(Death { at: Utc::now(), reason });
        deaths.is_down = true;
    }

    fn restarted(&self) {
        let mut deaths = self.deaths();
        deaths.restarts += 1;
        deaths.is_down = false;
    }
}

fn times(restarts: u64) -> String {
    match restarts {
        1 => "restarted once".into(),
        times => format!("restarted {times} times"),
    }
}

/// Works on one of many things for the task `name`. A panic costs this one, and is logged; the task goes on.
pub async fn contain(name: &str, work: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
        gave_up(name, &*panic);
    }
}

/// The same for a thread.
pub fn contain_blocking(name: &str, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        gave_up(name, &*panic);
    }
}

fn gave_up(name: &str, panic: &(dyn Any + Send)) {
    let reason = panic_message(panic);
    // Logging may be what panicked.
    let _ = catch_unwind(|| tracing::error!("{name} gave up on a batch of its work: {reason}"));
}

/// What a panic said.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked without a message".into())
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Mutex as AsyncMutex, mpsc};

    use super::*;

    /// A task that panics when it is given a 0, and passes on everything else.
    fn passing_on() -> (mpsc::UnboundedSender<u32>, mpsc::UnboundedReceiver<u32>, Supervised) {
        let (given, queue) = mpsc::unbounded_channel();
        let (passed, out) = mpsc::unbounded_channel();
        let queue = Arc::new(AsyncMutex::new(queue));
        let task = Supervised::start("passing on", move || {
            let (queue, passed) = (queue.clone(), passed.clone());
            async move {
                let mut queue = queue.lock().await;
                while let Some(number) = queue.recv().await {
                    assert_ne!(number, 0, "a nought");
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
    async fn a_task_that_panics_is_down_until_it_is_restarted_and_goes_on_with_its_queue() {
        let (given, mut out, task) = passing_on();
        let health = task.health();
        given.send(1).unwrap();
        assert_eq!(out.recv().await, Some(1));
        assert_eq!((health.problem(), health.warning()), (None, None));

        given.send(0).unwrap();
        given.send(2).unwrap();
        settle().await;
        let problem = health.problem().expect("it is down");
        for part in ["`passing on`", "died", "a nought", "restarted 0 times"] {
            assert!(problem.contains(part), "{part:?} is missing in: {problem}");
        }

        assert_eq!(out.recv().await, Some(2));
        assert_eq!(health.problem(), None);
        let warning = health.warning().expect("it died lately");
        assert!(warning.contains("restarted once") && warning.contains("a nought"), "{warning}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_dies_every_time_is_restarted_ever_more_rarely() {
        let task = Supervised::start("dying", || async { panic!("again") });
        tokio::time::sleep(Duration::from_secs(600)).await;
        let restarts = task.health().deaths().restarts;
        assert!((20..40).contains(&restarts), "{restarts} restarts in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_returns_is_neither_restarted_nor_a_problem() {
        let (given, mut out, task) = passing_on();
        drop(given);
        assert_eq!(out.recv().await, None, "it gave up its end");
        assert_eq!(task.health().warning(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_it_ends_the_task() {
        let (given, mut out, task) = passing_on();
        drop(task);
        assert_eq!(out.recv().await, None);
        assert!(given.send(1).is_err());
    }
}
