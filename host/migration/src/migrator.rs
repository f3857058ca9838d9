use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::TraceQuery;
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};

use crate::batch::{Batch, batches};
use crate::copy::{self, CopyOptions};
use crate::counts::Counts;
use crate::listing::{Listing, listing};
use crate::read_ahead::{forward, forward_ready, read_ahead};
use crate::report::{MigrationReport, Progress, Verification};
use crate::store_stream::{StorePart, StoreStream, StreamPosition, stream_store};
use crate::{MigrationError, verify};

/// Copies traces from one store into another.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), reflow_tracing_migration::MigrationError> {
/// use reflow_tracing_migration::{CopyOptions, StorageMigrator};
/// use reflow_tracing_memory::MemoryStorage;
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
        let before = resumed.map_or_else(Counts::default, |checkpoint| checkpoint.counts);
        let total = self.source.count_traces(self.filter.clone()).await.map_err(MigrationError::Source)?;
        self.options.notify(Progress::Started { traces: total, resumed: before.digest });

        let read = self.read(headerless == Listing::Listed, resumed.map(|checkpoint| checkpoint.position), before);
        let counts = if self.dry_run {
            self.target.health_check().await.map_err(MigrationError::Target)?;
            read_through(read, &self.options, before).await?
        } else {
            copy::store(read, &*self.target, &self.options, before).await?
        };
        let mut report = counts.report();
        report.warn_of_expiry(self.options.horizon(&*self.target));
        self.note_unread(&mut report, headerless).await?;
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
        after: Option<StreamPosition>,
        before: Counts,
    ) -> BoxStream<'static, Result<Batch, MigrationError>> {
        let (source, filter) = (Arc::clone(&self.source), self.filter.clone());
        let horizon = self.options.horizon(&*self.target);
        let batch_events = self.options.batch_events.get();
        read_ahead(move |sender| async move {
            let parts = stream_store(&*source, filter, headerless, after);
            forward(batches(parts, batch_events, horizon, before), sender).await;
        })
    }

    /// Notes what the source holds beyond what was read.
    async fn note_unread(&self, report: &mut MigrationReport, headerless: Listing) -> Result<(), MigrationError> {
        let traces = self.source.count_traces(self.filter.clone()).await.map_err(MigrationError::Source)?;
        report.missed = traces.saturating_sub(report.copied.traces + report.unreadable);
        if headerless == Listing::Unlisted {
            report.headerless_unlisted = true;
            let stats = self.source.stats().await.map_err(MigrationError::Source)?;
            // The events of missed traces are in this count too. Where no trace was missed, they are those of headerless ones.
            report.unread_events = stats.events.saturating_sub(report.copied.events);
        }
        Ok(())
    }

    async fn verify(&self, headerless: bool) -> Result<Verification, MigrationError> {
        let parts_of = |store: &Arc<dyn StorageBackend>| -> StoreStream<'static> {
            let (store, filter) = (Arc::clone(store), self.filter.clone());
            read_ahead(move |sender| async move {
                // Where the target can't list them, it is asked for each of those that the source has.
                let headerless = headerless && store.headerless_traces(None, 1).await.is_ok();
                let parts = stream_store(&*store, filter, headerless, None);
                forward_ready(parts, sender, |part| part.as_ref().map_or(0, StorePart::approximate_bytes)).await;
            })
            .flat_map(stream::iter)
            .boxed()
        };
        let (ours, theirs) = (parts_of(&self.source), parts_of(&self.target));
        verify::compare(ours, theirs, Some(&*self.source), &*self.target, &self.options).await
    }
}

/// Reads the batches and writes nothing.
async fn read_through(
    mut batches: BoxStream<'_, Result<Batch, MigrationError>>,
    options: &CopyOptions,
    before: Counts,
) -> Result<Counts, MigrationError> {
    let mut counts = before;
    while let Some(batch) = batches.try_next().await? {
        for what in batch.unreadable {
            options.notify(Progress::Unreadable(what));
        }
        counts = batch.counts;
        options.notify(Progress::Copied(counts.digest));
    }
    Ok(counts)
}
