//! From one store into another, into a file and back.
//!
//! Whatever the size of a store or of a trace, it goes by piece by piece: a stream of parts (`part`) is cut into batches
//! (`batch`), which are written several at a time while the next are read (`copy`). Writes are idempotent, so doing it
//! again completes what was interrupted; a [`Journal`] lets it go on where it was. An export is a stream of the same parts.

mod backup;
mod batch;
mod content;
mod copy;
mod error;
mod journal;
#[cfg(feature = "sqlite")]
mod legacy;
mod part;
mod report;
mod tally;
mod verify;

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

pub use backup::{Backup, ExportFile};
pub use content::{Checksum, Content};
pub use copy::{CopyOptions, OnProgress};
pub use error::MigrationError;
pub use journal::Journal;
#[cfg(feature = "sqlite")]
pub use legacy::LegacySqlite;
pub use report::{MigrationReport, Progress, Verification};

use reflow_tracing_model::TraceQuery;
use reflow_tracing_storage::{StorageBackend, StorageError};
use batch::{Batch, batches};
use part::{Parts, Place, everything};
use tally::Seen;

/// Parts that are passed on together when they are there.
const READY_PARTS: usize = 100;

/// Copies traces from one store into another.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), reflow_tracing::migration::MigrationError> {
/// use reflow_tracing::migration::{CopyOptions, StorageMigrator};
/// use reflow_tracing::storage::MemoryStorage;
///
/// let migrator = StorageMigrator::new(MemoryStorage::new(), MemoryStorage::new())
///     .options(CopyOptions { verify: true, ..CopyOptions::default() });
/// let report = migrator.migrate_all_traces().await?;
/// assert_eq!(report.copied.traces, 0);
/// assert!(report.is_complete());
/// # Ok(())
/// # }
/// ```
pub struct StorageMigrator {
    source: Arc<dyn StorageBackend>,
    target: Arc<dyn StorageBackend>,
    filter: TraceQuery,
    options: CopyOptions,
    dry_run: bool,
}

impl StorageMigrator {
    /// A migration from `source` to `target`.
    pub fn new(source: impl StorageBackend + 'static, target: impl StorageBackend + 'static) -> Self {
        Self::shared(Arc::new(source), Arc::new(target))
    }

    /// The same for stores that are shared already.
    pub fn shared(source: Arc<dyn StorageBackend>, target: Arc<dyn StorageBackend>) -> Self {
        Self { source, target, filter: TraceQuery::default(), options: CopyOptions::default(), dry_run: false }
    }

    /// Copies only the traces that match; the window of the query, its order and its token aside. Traces without a header
    /// match no query but the one that matches everything.
    #[must_use]
    pub fn filter(mut self, filter: TraceQuery) -> Self {
        self.filter = filter;
        self
    }

    /// How to copy.
    #[must_use]
    pub fn options(mut self, options: CopyOptions) -> Self {
        self.options = options;
        self
    }

    /// Reads everything and writes nothing.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Copies every trace that matches, the earliest start first, then the traces without a header.
    ///
    /// What the target has already stays, except that headers are replaced, and nothing is stored twice: a migration that
    /// failed is completed by another. Memory is bounded whatever the size of the store or of one trace. Traces that start
    /// while it runs are copied too. Call it within a Tokio runtime; on one with several threads, reading and writing go on
    /// side by side.
    pub async fn migrate_all_traces(&self) -> Result<MigrationReport, MigrationError> {
        let started = Instant::now();
        self.filter.validate().map_err(|problem| MigrationError::Source(StorageError::InvalidArgument(problem)))?;
        let headerless = listing(&*self.source, &self.filter).await?;
        let resumed = match &self.options.journal {
            Some(journal) if !self.dry_run => journal.read(&*self.target).await?,
            _ => None,
        };
        let before = resumed.map_or_else(Seen::default, |(_, seen)| seen);
        let total = self.source.count_traces(self.filter.clone()).await.map_err(MigrationError::Source)?;
        self.options.tell(Progress::Started { traces: total, resumed: before.content });

        let read = self.read(headerless == Listing::Listed, resumed.map(|(place, _)| place), before);
        let seen = if self.dry_run {
            self.target.health_check().await.map_err(MigrationError::Target)?;
            read_through(read, &self.options, before).await?
        } else {
            copy::store(read, &*self.target, &self.options, before).await?
        };
        let mut report = seen.report();
        warn_of_expiry(&report, self.options.horizon(&*self.target));
        self.what_is_left(&mut report, headerless).await?;
        if self.options.verify && !self.dry_run {
            report.verification = Some(self.verify(headerless == Listing::Listed).await?);
            // They were missing in the target, and were copied.
            report.missed = 0;
        }
        if !self.dry_run {
            self.options.finish()?;
        }
        report.took = started.elapsed();
        Ok(report)
    }

    /// Batches, which a task of its own reads ahead.
    fn read(
        &self,
        headerless: bool,
        after: Option<Place>,
        before: Seen,
    ) -> BoxStream<'static, Result<Batch, MigrationError>> {
        let (source, filter) = (Arc::clone(&self.source), self.filter.clone());
        let horizon = self.options.horizon(&*self.target);
        let batch_events = self.options.batch_events.get();
        ahead(move |sender| async move {
            let parts = everything(&*source, filter, headerless, after);
            forward(batches(parts, batch_events, horizon, before), sender).await;
        })
    }

    /// Notes what the source holds beyond what was read.
    async fn what_is_left(&self, report: &mut MigrationReport, headerless: Listing) -> Result<(), MigrationError> {
        let traces = self.source.count_traces(self.filter.clone()).await.map_err(MigrationError::Source)?;
        report.missed = traces.saturating_sub(report.copied.traces + report.unreadable);
        if headerless == Listing::Unlisted {
            report.headerless_unlisted = true;
            let stats = self.source.stats().await.map_err(MigrationError::Source)?;
            // Those of traces that were missed are in this too; they are told apart where none were.
            report.unread_events = stats.events.saturating_sub(report.copied.events);
        }
        Ok(())
    }

    async fn verify(&self, headerless: bool) -> Result<Verification, MigrationError> {
        let parts_of = |store: &Arc<dyn StorageBackend>| -> Parts<'static> {
            let (store, filter) = (Arc::clone(store), self.filter.clone());
            ahead(move |sender| async move {
                // What the target can't list, it is asked for when the source has it.
                let headerless = headerless && store.headerless_traces(None, 1).await.is_ok();
                forward_ready(everything(&*store, filter, headerless, None), sender).await;
            })
            .flat_map(stream::iter)
            .boxed()
        };
        let (ours, theirs) = (parts_of(&self.source), parts_of(&self.target));
        verify::compare(ours, theirs, Some(&*self.source), &*self.target, &self.options).await
    }
}

/// Says so when traces were stored that the store is about to delete.
fn warn_of_expiry(report: &MigrationReport, horizon: Option<DateTime<Utc>>) {
    if let (1.., Some(horizon)) = (report.expired, horizon) {
        tracing::warn!(
            "{} of the traces started before {horizon}: the retention of the target deletes them. To keep them, keep traces \
             longer there, and copy them again",
            report.expired
        );
    }
}

/// Whether the traces of a store that have no header are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    /// They are.
    Listed,
    /// The store can't list them.
    Unlisted,
    /// They were not asked for.
    Filtered,
}

async fn listing<B: StorageBackend + ?Sized>(source: &B, filter: &TraceQuery) -> Result<Listing, MigrationError> {
    let of_window = TraceQuery {
        limit: filter.limit,
        offset: filter.offset,
        order: filter.order,
        page_token: filter.page_token.clone(),
        ..TraceQuery::default()
    };
    if *filter != of_window {
        return Ok(Listing::Filtered);
    }
    match source.headerless_traces(None, 1).await {
        Ok(_) => Ok(Listing::Listed),
        Err(StorageError::Unsupported(_)) => Ok(Listing::Unlisted),
        Err(error) => Err(MigrationError::Source(error)),
    }
}

/// Reads the batches and writes nothing.
async fn read_through(
    mut batches: BoxStream<'_, Result<Batch, MigrationError>>,
    options: &CopyOptions,
    before: Seen,
) -> Result<Seen, MigrationError> {
    let mut seen = before;
    while let Some(batch) = batches.try_next().await? {
        for what in batch.unreadable {
            options.tell(Progress::Unreadable(what));
        }
        seen = batch.seen;
        options.tell(Progress::Copied(seen.content));
    }
    Ok(seen)
}

/// A stream that a task reads ahead by one item. The task ends with the stream.
fn ahead<T, Fut>(read: impl FnOnce(mpsc::Sender<T>) -> Fut + Send + 'static) -> BoxStream<'static, T>
where
    T: Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    stream::once(async move {
        let (sender, receiver) = mpsc::channel(1);
        let task = tokio::spawn(read(sender));
        stream::unfold((receiver, Some(task)), |(mut receiver, mut task)| async move {
            match receiver.recv().await {
                Some(item) => Some((item, (receiver, task))),
                None => {
                    // A stream that ends because its task panicked would look complete.
                    if let Some(Err(error)) = futures::future::OptionFuture::from(task.take()).await
                        && let Ok(panic) = error.try_into_panic()
                    {
                        std::panic::resume_unwind(panic);
                    }
                    None
                }
            }
        })
    })
    .flatten()
    .boxed()
}

async fn forward<T>(mut items: BoxStream<'_, T>, sender: mpsc::Sender<T>) {
    while let Some(item) = items.next().await {
        if sender.send(item).await.is_err() {
            return;
        }
    }
}

/// Passes on together what is there at once: that costs more than most parts do.
///
/// The items are polled while the receiver has no room: a call on a store may hold what the receiver needs to go on.
async fn forward_ready<T>(mut items: BoxStream<'_, T>, sender: mpsc::Sender<Vec<T>>) {
    let mut ready = Vec::new();
    let mut ended = false;
    while !(ended && ready.is_empty()) {
        tokio::select! {
            biased;
            item = items.next(), if !ended && ready.len() < READY_PARTS => match item {
                Some(item) => ready.push(item),
                None => ended = true,
            },
            room = sender.reserve(), if !ready.is_empty() => match room {
                Ok(room) => room.send(std::mem::take(&mut ready)),
                Err(_) => return,
            },
        }
    }
}
