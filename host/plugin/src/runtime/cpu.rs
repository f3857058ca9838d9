//! Measures the processor time of a call.
//!
//! A call is a future, and its processor time is the time that it is being polled. Waiting in the host for a database or a
//! server is not polling, so it does not count.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::engine::TICK;
use super::fair_scheduler::{self, Slot};

/// The processor time of an instance's current call. Only the task that polls the call changes it, so no lock is needed.
pub(crate) struct CpuTime {
    plugin: Arc<str>,
    limit: Duration,
    /// The origin of the times below.
    base: Instant,
    /// Time of completed polls, in nanoseconds.
    spent: AtomicU64,
    /// When the current poll began, in nanoseconds since `base`; [`IDLE`] between polls.
    running: AtomicU64,
    has_slot: AtomicBool,
    slot: Mutex<Option<Slot>>,
}

/// The call is not being polled.
const IDLE: u64 = u64::MAX;

impl CpuTime {
    pub(crate) fn new(plugin: Arc<str>, limit: Duration) -> Self {
        Self {
            plugin,
            limit,
            base: Instant::now(),
            spent: AtomicU64::new(0),
            running: AtomicU64::new(IDLE),
            has_slot: AtomicBool::new(false),
            slot: Mutex::default(),
        }
    }

    /// Runs a call and measures it.
    pub(crate) async fn measure<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        self.spent.store(0, Relaxed);
        poll_fn(|context| {
            self.running.store(self.now(), Relaxed);
            let polled = call.as_mut().poll(context);
            self.spent.store(self.used(), Relaxed);
            self.running.store(IDLE, Relaxed);
            // The call now waits, for a slot or for something in the host; a waiting call holds no slot.
            self.release_slot();
            polled
        })
        .await
    }

    /// Fails when the current call has exceeded its limit.
    pub(crate) fn check(&self) -> wasmtime::Result<()> {
        if Duration::from_nanos(self.used()) <= self.limit {
            return Ok(());
        }
        Err(wasmtime::Error::msg(format!(
            "it used more than {} ms of processor time (plugins.{}.limits.cpu_ms) and was stopped",
            self.limit.as_millis(),
            self.plugin
        )))
    }

    /// For long work of the host within a call.
    pub(crate) fn pace(self: &Arc<Self>) -> Pace {
        Pace { cpu: Arc::clone(self), since: Instant::now(), bytes: 0 }
    }

    /// Lets other calls run, then waits for a compute slot.
    pub(crate) async fn yield_slot(self: Arc<Self>) {
        self.release_slot();
        // The runtime polls sockets and timers before it resumes this task.
        tokio::task::yield_now().await;
        let slot = fair_scheduler::acquire(&self.plugin).await;
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(slot);
        self.has_slot.store(true, Relaxed);
    }

    fn release_slot(&self) {
        if self.has_slot.swap(false, Relaxed) {
            let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(slot);
        }
    }

    /// The processor time of the current call, in nanoseconds.
    fn used(&self) -> u64 {
        let running = match self.running.load(Relaxed) {
            IDLE => 0,
            since => self.now().saturating_sub(since),
        };
        self.spent.load(Relaxed) + running
    }

    /// Nanoseconds since `base`. Overflows after more than 500 years.
    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(IDLE - 1)
    }
}

/// Lets others run during long work of the host, so that the call can be stopped there as in the plugin's own code.
pub(crate) struct Pace {
    cpu: Arc<CpuTime>,
    since: Instant,
    bytes: usize,
}

impl Pace {
    /// After so many bytes of work. Fails when the call has used its processor time.
    pub(crate) async fn step(&mut self, bytes: usize) -> wasmtime::Result<()> {
        /// Looking at the clock more often would cost more than the work.
        const BETWEEN: usize = 32 * 1024;
        self.bytes += bytes;
        if self.bytes < BETWEEN {
            return Ok(());
        }
        self.bytes = 0;
        if self.since.elapsed() < TICK {
            return Ok(());
        }
        self.cpu.check()?;
        Arc::clone(&self.cpu).yield_slot().await;
        self.since = Instant::now();
        Ok(())
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
            cpu.check().expect("it only waited");
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(60) {
                std::hint::spin_loop();
            }
            assert!(cpu.check().is_err());
        })
        .await;
        cpu.measure(async { cpu.check().expect("a new call starts at zero") }).await;
    }

    #[tokio::test]
    async fn a_slot_is_released_when_its_call_waits() {
        let cpu = Arc::new(CpuTime::new("p".into(), Duration::from_secs(5)));
        let polled = Arc::clone(&cpu);
        cpu.measure(async move {
            Arc::clone(&polled).yield_slot().await;
            assert!(polled.has_slot.load(Relaxed));
            tokio::task::yield_now().await;
            assert!(!polled.has_slot.load(Relaxed));
        })
        .await;
    }
}
