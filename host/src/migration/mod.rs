//! From one store into another.

use crate::model::{FlowTrace, SortOrder, TraceQuery};
use crate::storage::{StorageBackend, StorageError};

/// Traces that are read at a time.
const PAGE: usize = 100;
/// Events that are written at a time.
const BATCH: usize = 5_000;

/// Copies traces from one store into another.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), reflow_tracing::storage::StorageError> {
/// use reflow_tracing::migration::StorageMigrator;
/// use reflow_tracing::storage::MemoryStorage;
///
/// let migrator = StorageMigrator::new(MemoryStorage::new(), MemoryStorage::new());
/// let report = migrator.migrate_all_traces().await?;
/// assert_eq!(report.traces, 0);
/// # Ok(())
/// # }
/// ```
pub struct StorageMigrator<S, T> {
    source: S,
    target: T,
}

/// What a migration did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// Traces that were copied, those that the target had already included.
    pub traces: u64,
    /// Their events.
    pub events: u64,
}

impl<S: StorageBackend, T: StorageBackend> StorageMigrator<S, T> {
    /// A migration from `source` to `target`.
    pub fn new(source: S, target: T) -> Self {
        Self { source, target }
    }

    /// Copies every trace, the oldest first.
    ///
    /// What the target has already stays, and nothing is stored twice: a migration that failed is completed by another.
    /// Traces that start while it runs are copied too. Events whose trace has no header yet are not.
    pub async fn migrate_all_traces(&self) -> Result<MigrationReport, StorageError> {
        let mut query = TraceQuery { limit: Some(PAGE), order: SortOrder::OldestFirst, ..TraceQuery::default() };
        let mut report = MigrationReport::default();
        loop {
            let page = self.source.query_page(query.clone()).await?;
            for trace in page.traces {
                report.events += self.copy(trace).await?;
                report.traces += 1;
            }
            match page.next_page_token {
                Some(token) => query.page_token = Some(token),
                None => break,
            }
        }
        self.target.flush().await?;
        Ok(report)
    }

    /// Copies a trace: the events first, so that whoever sees it in the target sees all of it. The number of its events.
    async fn copy(&self, mut trace: FlowTrace) -> Result<u64, StorageError> {
        let trace_id = trace.trace_id;
        let events = std::mem::take(&mut trace.events);
        let count = events.len() as u64;
        let mut events = events.into_iter().map(|event| (trace_id, event)).peekable();
        while events.peek().is_some() {
            self.target.store_events(events.by_ref().take(BATCH).collect()).await?;
        }
        self.target.store_trace(trace).await?;
        Ok(count)
    }
}
