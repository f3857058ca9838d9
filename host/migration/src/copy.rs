//! Writes batches into a store, several at a time, and records progress in order.

use std::fmt;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_storage::{StorageBackend, StorageBackendExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::MigrationError;
use crate::batch::Batch;
use crate::counts::Counts;
use crate::journal::{Journal, JournalWriter};
use crate::report::Progress;

/// A callback for progress.
pub type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

/// Settings of a copy.
#[derive(Clone)]
pub struct CopyOptions {
    /// The approximate number of events per batch; fewer if they are large.
    pub batch_events: NonZeroUsize,
    /// The number of concurrent batches. Each takes up to about 10 MB of memory.
    pub parallelism: NonZeroUsize,
    /// Whether to compare the target with the source at the end, trace by trace. If the source is a store, traces that differ
    /// are copied again, because they may have changed since.
    pub verify: bool,
    /// Traces that started earlier are counted as expired: what deletes them is not the target itself, whose
    /// [`retention_horizon`](StorageBackendExt::retention_horizon) counts as well, but for example the host that uses it.
    pub expires_before: Option<DateTime<Utc>>,
    /// Where to record progress, so that an interrupted run can be resumed.
    pub journal: Option<Journal>,
    /// Called after each step.
    pub on_progress: Option<OnProgress>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        const BATCH_EVENTS: NonZeroUsize = NonZeroUsize::new(5_000).expect("it is not zero");
        const PARALLELISM: NonZeroUsize = NonZeroUsize::new(4).expect("it is not zero");
        Self {
            batch_events: BATCH_EVENTS,
            parallelism: PARALLELISM,
            verify: false,
            expires_before: None,
            journal: None,
            on_progress: None,
        }
    }
}

impl CopyOptions {
    /// Removes the journal, because the copy is complete.
    pub(crate) fn finish(&self) -> Result<(), MigrationError> {
        self.journal.as_ref().map_or(Ok(()), Journal::remove)
    }

    /// Traces that started earlier expire.
    pub(crate) fn horizon<B: StorageBackend + ?Sized>(&self, target: &B) -> Option<DateTime<Utc>> {
        self.expires_before.max(target.retention_horizon())
    }

    pub(crate) fn notify(&self, progress: Progress) {
        if let Some(on_progress) = &self.on_progress {
            on_progress(&progress);
        }
    }
}

/// Without the callback.
impl fmt::Debug for CopyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch_events, parallelism, verify, expires_before, journal, on_progress: _ } = self;
        f.debug_struct("CopyOptions")
            .field("batch_events", batch_events)
            .field("parallelism", parallelism)
            .field("verify", verify)
            .field("expires_before", expires_before)
            .field("journal", journal)
            .finish_non_exhaustive()
    }
}

/// Stores the batches, whose first comes after `before`. Returns what was read in all, `before` included.
pub(crate) async fn store<B: StorageBackend + ?Sized>(
    batches: BoxStream<'_, Result<Batch, MigrationError>>,
    target: &B,
    options: &CopyOptions,
    before: Counts,
) -> Result<Counts, MigrationError> {
    let mut journal = JournalWriter::new(options.journal.as_ref());
    let stored = store_all(batches, target, options, before, &mut journal).await;
    // Also at the end: comparing the target may be what is interrupted.
    let noted = journal.note(target).await;
    let counts = stored?;
    noted?;
    target.flush().await.or_else(|error| match error {
        // Without a flush, the copy is as durable as every other write.
        error if error.is_retryable() => {
            tracing::info!("the copy is stored, but the target could not be flushed: {error}");
            Ok(())
        }
        error => Err(MigrationError::Target(error)),
    })?;
    Ok(counts)
}

async fn store_all<B: StorageBackend + ?Sized>(
    batches: BoxStream<'_, Result<Batch, MigrationError>>,
    target: &B,
    options: &CopyOptions,
    before: Counts,
    journal: &mut JournalWriter<'_>,
) -> Result<Counts, MigrationError> {
    let parallelism = options.parallelism.get().min(Semaphore::MAX_PERMITS);
    let batches = while_there_is_room(batches, parallelism);
    // Unbounded, so that writes in progress never wait for the ones that are done, which may need them to continue. The number
    // of concurrent batches limits its length.
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let write = async move {
        let write =
            |(batch, room): (Batch, OwnedSemaphorePermit)| async move { Ok((store_batch(batch, target).await?, room)) };
        // In the order of the batches, not of their completion.
        let mut stored = pin!(batches.map_ok(write).try_buffered(parallelism));
        while let Some(batch) = stored.try_next().await? {
            let _ = sender.send(batch);
        }
        Ok(())
    };
    let complete = async {
        let mut counts = before;
        while let Some((batch, _room)) = receiver.recv().await {
            if !batch.ends.is_empty() {
                target.store_traces(batch.ends).await.map_err(MigrationError::Target)?;
            }
            for what in batch.unreadable {
                options.notify(Progress::Unreadable(what));
            }
            counts = batch.counts;
            options.notify(Progress::Copied(counts.digest));
            journal.reached(batch.checkpoint, target).await?;
        }
        Ok(counts)
    };
    let ((), counts) = tokio::try_join!(write, complete)?;
    Ok(counts)
}

/// Reads a batch once fewer than `most` earlier batches are in progress.
fn while_there_is_room<'a>(
    batches: BoxStream<'a, Result<Batch, MigrationError>>,
    most: usize,
) -> BoxStream<'a, Result<(Batch, OwnedSemaphorePermit), MigrationError>> {
    let room = Arc::new(Semaphore::new(most));
    stream::try_unfold((batches, room), |(mut batches, room)| async move {
        let taken = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        Ok(batches.try_next().await?.map(|batch| ((batch, taken), (batches, room))))
    })
    .boxed()
}

/// Stores what does not depend on other batches, and leaves the rest.
async fn store_batch<B: StorageBackend + ?Sized>(mut batch: Batch, target: &B) -> Result<Batch, MigrationError> {
    let (whole, events) = (std::mem::take(&mut batch.whole), std::mem::take(&mut batch.events));
    if !whole.is_empty() {
        target.store_traces(whole).await.map_err(MigrationError::Target)?;
    }
    if !events.is_empty() {
        target.store_events(events).await.map_err(MigrationError::Target)?;
    }
    Ok(batch)
}
