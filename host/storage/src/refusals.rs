//! What became of the last write, for the health of a store whose disk can't be tried.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::StorageError;

/// How long a refusal counts without a further one. A host that is taken out of service gets no writes: it has to be given
/// another try.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The last write's refusal, if it was that the store is full.
#[derive(Default)]
pub struct Refusals(Mutex<Option<Refusal>>);

struct Refusal {
    since: Instant,
    at: DateTime<Utc>,
    why: String,
}

impl Refusals {
    /// Notes what became of a write, and hands it on.
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

    /// Fails when the store was full for the last write, lately, and none has succeeded since.
    pub fn check(&self) -> Result<(), StorageError> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Refusal { at, why, .. }) = last.as_ref().filter(|last| last.since.elapsed() < REMEMBERED) else {
            return Ok(());
        };
        let at = at.format("%FT%TZ");
        Err(StorageError::Exhausted(format!(
            "{why}; that was the answer to the last write, at {at}, and none has succeeded since"
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
    async fn a_refusal_counts_until_a_write_succeeds_or_none_came_for_a_minute() {
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
    fn what_one_write_is_to_blame_for_does_not_count() {
        let refusals = Refusals::default();
        refusals.note::<()>(Err(StorageError::InvalidArgument("too long".into()))).unwrap_err();
        refusals.check().unwrap();
    }
}
