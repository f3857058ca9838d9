//! Remembers a write that failed because the store is full, for health checks that can't test the disk.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::StorageError;

/// How long a refusal counts. A host that was taken out of service gets no writes, so it must become healthy again to be
/// tried again.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The refusal of the last write, if the store was full.
#[derive(Default)]
pub struct Refusals(Mutex<Option<Refusal>>);

struct Refusal {
    since: Instant,
    at: DateTime<Utc>,
    why: String,
}

impl Refusals {
    /// Records the outcome of a write, and returns it.
    pub fn note<T>(&self, outcome: Result<T, StorageError>) -> Result<T, StorageError> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(_) => *last = None,
            Err(StorageError::Exhausted(why)) => {
                *last = Some(Refusal { since: Instant::now(), at: Utc::now(), why: why.clone() });
            }
            Err(_) => {}
        }
        drop(last);
        outcome
    }

    /// Fails if the store was full at the last write, within the last minute.
    pub fn check(&self) -> Result<(), StorageError> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Refusal { at, why, .. }) = last.as_ref().filter(|last| last.since.elapsed() < REMEMBERED) else {
            return Ok(());
        };
        let at = at.format("%FT%TZ");
        Err(StorageError::Exhausted(format!(
            "{why} (the last write failed with this error at {at}, and none has succeeded since)"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Result<(), StorageError> {
        Err(StorageError::Exhausted("the disk is full".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_until_a_write_succeeds_or_a_minute_has_passed() {
        let refusals = Refusals::default();
        refusals.check().unwrap();
        refusals.note(full()).unwrap_err();
        let error = refusals.check().unwrap_err();
        assert!(matches!(&error, StorageError::Exhausted(why) if why.contains("the disk is full")), "{error}");
        refusals.note(Ok(())).unwrap();
        refusals.check().unwrap();

        refusals.note(full()).unwrap_err();
        tokio::time::advance(REMEMBERED).await;
        refusals.check().unwrap();
    }

    #[test]
    fn an_invalid_write_does_not_count() {
        let refusals = Refusals::default();
        refusals.note::<()>(Err(StorageError::InvalidArgument("too long".into()))).unwrap_err();
        refusals.check().unwrap();
    }
}
