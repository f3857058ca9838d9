use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::TraceQuery;
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};

use crate::batch::{Batch, batches};
use crate::copy::{self, CopyOptions};
use crate::counts::Counts;
use crate::listing::{Listing, listing, note_unread};
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

    /// The same for shared stores.
    pub fn shared(source: Arc<dyn StorageBackend>, target: Arc<dyn StorageBackend>) -> Self {
        Self { source, target, filter: TraceQuery::default(), options: CopyOptions::default(), dry_run: false }
    }

    /// Copies only the traces that match. Limit, offset, order and token are ignored. Traces without a header match only a
    /// query that matches everything.
    #[must_use]
    pub fn filter(mut self, filter: TraceQuery) -> Self {
        self.filter = filter;
        self
    }

    /// Sets the options of the copy.
    #[must_use]
    pub fn options(mut self, options: CopyOptions) -> Self {
        self.options = options;
        self
    }

    /// A dry run: reads everything and writes nothing.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Copies all matching traces, the earliest start first, then the traces without a header.
    ///
    /// Existing data in the target stays, except that headers are replaced, and nothing is stored twice: running a failed
    /// migration again completes it. Memory is bounded regardless of the size of the store and its traces. Traces that start
    /// during the migration are copied too. Call it within a Tokio runtime; on a multi-threaded one, reading and writing run in
    /// parallel.
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
        note_unread(&mut report, &*self.source, self.filter.clone(), headerless).await?;
        if self.options.verify && !self.dry_run {
            report.verification = Some(self.verify(headerless == Listing::Listed).await?);
            // They were missing in the target and were copied.
            report.missed = 0;
        }
        if !self.dry_run {
            self.options.finish()?;
        }
        report.took = started.elapsed();
        Ok(report)
    }

    /// Batches, read ahead by a separate task.
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

    async fn verify(&self, headerless: bool) -> Result<Verification, MigrationError> {
        let parts_of = |store: &Arc<dyn StorageBackend>| -> StoreStream<'static> {
            let (store, filter) = (Arc::clone(store), self.filter.clone());
            read_ahead(move |sender| async move {
                // If the target can't list them, look up each of those of the source.
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

/// Reads the batches without writing.
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
