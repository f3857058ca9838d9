//! A circuit breaker: after repeated failures, calls to a plugin fail immediately for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Consecutive failures that open the breaker.
const FAILURES: u32 = 5;
/// How long it stays open at first. Each failed trial doubles the pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Breaker {
    /// Whether the last call failed. While it is false, no lock is needed.
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// The reason of the last failure.
    reason: String,
    /// The breaker is open until then.
    pause_ends: Option<Instant>,
    pause: Duration,
    /// Whether a trial call is running.
    trial_running: bool,
}

/// A call that the breaker admitted. Report its outcome with [`succeeded`](Self::succeeded) or [`failed`](Self::failed); a
/// cancelled call has none.
pub(super) struct Admission<'a> {
    breaker: &'a Breaker,
    /// Whether its outcome closes the breaker or keeps it open.
    trial: bool,
}

impl Breaker {
    /// Admits a call, or returns the reason why the breaker is open.
    pub(super) fn admit(&self) -> Result<Admission<'_>, String> {
        if !self.failing.load(Ordering::Relaxed) {
            return Ok(Admission { breaker: self, trial: false });
        }
        let mut state = self.lock();
        let Some(end) = state.pause_ends else {
            return Ok(Admission { breaker: self, trial: false });
        };
        let now = Instant::now();
        if now < end || state.trial_running {
            return Err(state.describe(now));
        }
        state.trial_running = true;
        Ok(Admission { breaker: self, trial: true })
    }

    /// Why the breaker is open; `None` when it is closed.
    pub(super) fn problem(&self) -> Option<String> {
        let state = self.lock();
        state.pause_ends.map(|_| state.describe(Instant::now()))
    }

    /// Closes the breaker, for a new version of the plugin.
    pub(super) fn reset(&self) {
        *self.lock() = State::default();
        self.failing.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn describe(&self, now: Instant) -> String {
        let left = self.pause_ends.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
        format!(
            "it failed {} times in a row; the next call is possible in {:.1} s; the last failure: {}",
            self.failures,
            left.as_secs_f64(),
            self.reason
        )
    }
}

impl Admission<'_> {
    /// The call completed, even if the answer is an error.
    pub(super) fn succeeded(self) {
        if self.breaker.failing.load(Ordering::Relaxed) {
            self.breaker.reset();
        }
    }

    /// The call trapped or timed out. Returns the length of the pause if this opens the breaker.
    pub(super) fn failed(self, reason: &str) -> Option<Duration> {
        let mut state = self.breaker.lock();
        self.breaker.failing.store(true, Ordering::Relaxed);
        state.failures += 1;
        state.reason = reason.to_owned();
        // Calls that were running when the breaker opened don't prolong the pause.
        let opens = if self.trial { true } else { state.failures >= FAILURES && state.pause_ends.is_none() };
        if !opens {
            return None;
        }
        state.pause = if self.trial { (state.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        state.pause_ends = Some(Instant::now() + state.pause);
        Some(state.pause)
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.lock().trial_running = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker) -> Option<Duration> {
        breaker.admit().unwrap().failed("it trapped")
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_success_closes_it() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(fail(&breaker), None);
        }
        breaker.admit().unwrap().succeeded();
        for _ in 1..FAILURES {
            assert_eq!(fail(&breaker), None);
        }
        assert_eq!(breaker.problem(), None);
        assert_eq!(fail(&breaker), Some(FIRST_PAUSE));
        let reason = breaker.admit().err().unwrap();
        assert!(reason.contains("5 times in a row") && reason.contains("1.0 s"), "{reason}");
        assert!(reason.contains("it trapped"), "{reason}");

        tokio::time::advance(FIRST_PAUSE).await;
        let trial = breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "only one trial call runs");
        trial.succeeded();
        assert_eq!(breaker.problem(), None);
        breaker.admit().unwrap().succeeded();
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_trial_doubles_the_pause_up_to_a_limit() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            fail(&breaker);
        }
        let mut pauses = Vec::new();
        for _ in 0..6 {
            tokio::time::advance(LONGEST_PAUSE).await;
            pauses.push(fail(&breaker).unwrap().as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_trial_allows_the_next() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            fail(&breaker);
        }
        tokio::time::advance(FIRST_PAUSE).await;
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().succeeded();
        assert_eq!(breaker.problem(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_began_before_the_pause_do_not_prolong_it() {
        let breaker = Breaker::default();
        let earlier: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
        for _ in 0..FAILURES {
            fail(&breaker);
        }
        for call in earlier {
            assert_eq!(call.failed("it trapped"), None);
        }
        tokio::time::advance(FIRST_PAUSE).await;
        breaker.admit().unwrap().succeeded();
    }
}
