//! A plugin that keeps failing is left alone for a while: its callers are told at once, and it costs nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
/// How long it stays open the first time; every time that the call after it fails, twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Breaker {
    /// Whether the last call failed: while it did not, nothing has to be locked.
    troubled: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    /// Failures since the last success.
    failures: u32,
    /// Of the last failure.
    reason: String,
    /// Until when no call is let through.
    pause_ends: Option<Instant>,
    pause: Duration,
    /// A call is under way that decides how it goes on.
    trying: bool,
}

/// A call that was let through. Its outcome must be told; when it is dropped untold, it had none.
pub(super) struct Admission<'a> {
    breaker: &'a Breaker,
    /// Whether it is the one that decides.
    trial: bool,
}

impl Breaker {
    /// Lets a call through, or says why not.
    pub(super) fn admit(&self) -> Result<Admission<'_>, String> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Ok(Admission { breaker: self, trial: false });
        }
        let mut trouble = self.lock();
        let Some(end) = trouble.pause_ends else {
            return Ok(Admission { breaker: self, trial: false });
        };
        let now = Instant::now();
        if now < end || trouble.trying {
            return Err(trouble.describe(now));
        }
        trouble.trying = true;
        Ok(Admission { breaker: self, trial: true })
    }

    /// What is wrong, if the plugin is not called for the moment.
    pub(super) fn problem(&self) -> Option<String> {
        let trouble = self.lock();
        trouble.pause_ends.map(|_| trouble.describe(Instant::now()))
    }

    /// Forgets all failures: there is a new version.
    pub(super) fn reset(&self) {
        *self.lock() = Trouble::default();
        self.troubled.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    fn describe(&self, now: Instant) -> String {
        let left = self.pause_ends.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
        format!(
            "it failed {} times in a row and is called again in {:.1} s; the last failure: {}",
            self.failures,
            left.as_secs_f64(),
            self.reason
        )
    }
}

impl Admission<'_> {
    /// The plugin did its work, whatever the answer.
    pub(super) fn succeeded(self) {
        if self.breaker.troubled.load(Ordering::Relaxed) {
            self.breaker.reset();
        }
    }

    /// The plugin broke down. Says for how long it is left alone, if it is from now on.
    pub(super) fn failed(self, reason: &str) -> Option<Duration> {
        let mut trouble = self.breaker.lock();
        self.breaker.troubled.store(true, Ordering::Relaxed);
        trouble.failures += 1;
        trouble.reason = reason.to_owned();
        // Calls that were under way when the pause began say nothing new.
        let opens = if self.trial { true } else { trouble.failures >= FAILURES && trouble.pause_ends.is_none() };
        if !opens {
            return None;
        }
        trouble.pause = if self.trial { (trouble.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        trouble.pause_ends = Some(Instant::now() + trouble.pause);
        Some(trouble.pause)
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.lock().trying = false;
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
        let told = breaker.admit().err().unwrap();
        assert!(told.contains("5 times in a row") && told.contains("1.0 s") && told.contains("it trapped"), "{told}");

        tokio::time::advance(FIRST_PAUSE).await;
        let trial = breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "one call decides, the others wait for it");
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
    async fn a_trial_that_nobody_waits_for_any_more_leaves_room_for_the_next() {
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
        let late: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
        for _ in 0..FAILURES {
            fail(&breaker);
        }
        for call in late {
            assert_eq!(call.failed("it trapped"), None);
        }
        tokio::time::advance(FIRST_PAUSE).await;
        breaker.admit().unwrap().succeeded();
    }
}
