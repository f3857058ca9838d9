//! The processor time of a call, and turns among calls that take long.
//!
//! A call is a future: what it takes of a processor is the time that it is being polled. Waiting in the host for a database
//! or a server is no polling, so it does not count.
//!
//! A plugin that computes gives way at every tick. Without turns, as many such plugins as the runtime has workers would
//! leave it none to look after sockets and timers; so one worker is always left to the others.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns of calls that compute for longer than a tick: one fewer than there are workers.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let workers = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
    Arc::new(Semaphore::new(workers.saturating_sub(1).max(1)))
});

/// What the present call of an instance has taken of a processor.
pub(in crate::plugin) struct CpuTime {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In turns that are over.
    spent: Duration,
    /// Since when the present one lasts.
    running: Option<Instant>,
    turn: Option<OwnedSemaphorePermit>,
}

impl CpuTime {
    pub(in crate::plugin) fn new(limit: Duration) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Runs a call of the instance's, and measures it.
    pub(in crate::plugin) async fn measure<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        *self.state() = State::default();
        poll_fn(|context| {
            self.state().running = Some(Instant::now());
            let polled = call.as_mut().poll(context);
            let mut state = self.state();
            let turn = state.running.take().map_or(Duration::ZERO, |since| since.elapsed());
            state.spent += turn;
            // It waits, for a turn or for something in the host; whoever waits has no turn.
            state.turn = None;
            polled
        })
        .await
    }

    /// Whether the present call has had its share.
    pub(in crate::plugin) fn is_over(&self) -> bool {
        let state = self.state();
        state.spent + state.running.map_or(Duration::ZERO, |since| since.elapsed()) > self.limit
    }

    /// Lets others run, then waits for a turn.
    pub(in crate::plugin) async fn give_way(self: Arc<Self>) {
        self.state().turn = None;
        // Through the runtime, which looks after sockets and timers before it comes back.
        tokio::task::yield_now().await;
        // The semaphore is fair. It is never closed.
        let turn = Arc::clone(&TURNS).acquire_owned().await.ok();
        self.state().turn = turn;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_not_counted() {
        let cpu = CpuTime::new(Duration::from_millis(50));
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
        let cpu = Arc::new(CpuTime::new(Duration::from_secs(5)));
        let polled = Arc::clone(&cpu);
        cpu.measure(async move {
            Arc::clone(&polled).give_way().await;
            assert!(polled.state().turn.is_some());
            tokio::task::yield_now().await;
            assert!(polled.state().turn.is_none());
        })
        .await;
    }
}
