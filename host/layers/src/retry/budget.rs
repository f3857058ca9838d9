use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The full budget, in tenths of a failed call.
const FULL: u32 = 200;
/// The cost of a failed call.
const FAILURE: u32 = 10;
/// What a successful call restores.
const SUCCESS: u32 = 1;

/// Prevents retries from multiplying the load on a store in trouble. Like gRPC's retry throttling, a failed call takes a token,
/// a successful one restores a tenth, and below half of the tokens nothing is retried. So short failures are smoothed, and in
/// an outage calls fail at the first attempt.
pub(super) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(FULL))
    }
}

impl Budget {
    pub(super) fn succeeded(&self) {
        // The budget is nearly always full.
        if self.0.load(Relaxed) < FULL {
            let _ = self.0.fetch_update(Relaxed, Relaxed, |left| Some((left + SUCCESS).min(FULL)));
        }
    }

    /// Records a failure. Returns whether another attempt is allowed.
    pub(super) fn failed(&self) -> bool {
        let taken = self.0.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(FAILURE)));
        let left = taken.unwrap_or_default().saturating_sub(FAILURE);
        left > FULL / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_exhausts_the_budget_and_successes_restore_it_slowly() {
        let budget = Budget::default();
        let allowed = (0..100).filter(|_| budget.failed()).count();
        assert_eq!(allowed, 9);
        for _ in 0..110 {
            assert!(!budget.failed());
            (0..10).for_each(|_| budget.succeeded());
        }
        (0..200).for_each(|_| budget.succeeded());
        assert!(budget.failed());
    }
}
