//! The processor time of a call.
//!
//! A call is a future: what it takes of a processor is the time that it is being polled. Waiting in the host for a database
//! or a server is no polling, so it does not count.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::turns::{self, Turn};

/// What the present call of an instance has taken of a processor. Only who polls the call changes it, so nothing is locked.
pub(crate) struct CpuTime {
    plugin: Arc<str>,
    limit: Duration,
    /// From when times are counted.
    base: Instant,
    /// What was taken in polls that are over, in nanoseconds.
    spent: AtomicU64,
    /// When the present poll began, in nanoseconds since `base`; [`IDLE`] between polls.
    running: AtomicU64,
    has_turn: AtomicBool,
    turn: Mutex<Option<Turn>>,
}

/// That the call is not being polled.
const IDLE: u64 = u64::MAX;

impl CpuTime {
    pub(crate) fn new(plugin: Arc<str>, limit: Duration) -> Self {
        Self {
            plugin,
            limit,
            base: Instant::now(),
            spent: AtomicU64::new(0),
            running: AtomicU64::new(IDLE),
            has_turn: AtomicBool::new(false),
            turn: Mutex::default(),
        }
    }

    /// Runs a call of the instance's, and measures it.
    pub(crate) async fn measure<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        self.spent.store(0, Relaxed);
        poll_fn(|context| {
            self.running.store(self.now(), Relaxed);
            let polled = call.as_mut().poll(context);
            self.spent.store(self.taken(), Relaxed);
            self.running.store(IDLE, Relaxed);
            // It waits, for a turn or for something in the host; whoever waits has no turn.
            self.end_turn();
            polled
        })
        .await
    }

    /// Whether the present call has had its share.
    pub(crate) fn is_over(&self) -> bool {
        Duration::from_nanos(self.taken()) > self.limit
    }

    /// Lets others run, then waits for a turn.
    pub(crate) async fn give_way(self: Arc<Self>) {
        self.end_turn();
        // Through the runtime, which looks after sockets and timers before it comes back.
        tokio::task::yield_now().await;
        let turn = turns::wait(&self.plugin).await;
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        self.has_turn.store(true, Relaxed);
    }

    fn end_turn(&self) {
        if self.has_turn.swap(false, Relaxed) {
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(turn);
        }
    }

    /// What the present call has taken, in nanoseconds.
    fn taken(&self) -> u64 {
        let running = match self.running.load(Relaxed) {
            IDLE => 0,
            since => self.now().saturating_sub(since),
        };
        self.spent.load(Relaxed) + running
    }

    /// In nanoseconds since `base`, for some five hundred years.
    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(IDLE - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_not_counted() {
        let cpu = CpuTime::new("p".into(), Duration::from_millis(50));
        cpu.measure(async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!cpu.is_over(), "it only waited");
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(60) {
                std::hint::spin_loop();
            }
            assert!(cpu.is_over());
        })
        .await;
        cpu.measure(async { assert!(!cpu.is_over(), "a new call has a new share") }).await;
    }

    #[tokio::test]
    async fn a_turn_ends_when_its_call_waits() {
        let cpu = Arc::new(CpuTime::new("p".into(), Duration::from_secs(5)));
        let polled = Arc::clone(&cpu);
        cpu.measure(async move {
            Arc::clone(&polled).give_way().await;
            assert!(polled.has_turn.load(Relaxed));
            tokio::task::yield_now().await;
            assert!(!polled.has_turn.load(Relaxed));
        })
        .await;
    }
}
