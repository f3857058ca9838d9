use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What there is at most, in tenths of a failed call.
const FULL: u32 = 200;
/// What a failed call takes.
const FAILURE: u32 = 10;
/// What a successful call gives back.
const SUCCESS: u32 = 1;

/// Keeps retries from multiplying the load on a store that is in trouble: as gRPC throttles them, a failed call takes a
/// token, a successful one gives back a tenth, and with half of the tokens gone nothing is retried. A blip is smoothed; in an
/// outage calls fail at their first attempt.
pub(super) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(FULL))
    }
}

impl Budget {
    pub(super) fn succeeded(&self) {
        // Nearly always it is full.
        if self.0.load(Relaxed) < FULL {
            let _ = self.0.fetch_update(Relaxed, Relaxed, |left| Some((left + SUCCESS).min(FULL)));
        }
    }

    /// Notes a failure. Whether another attempt is allowed.
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
    fn an_outage_uses_it_up_and_successes_fill_it_slowly() {
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
