use reflow_tracing_model::TraceQuery;
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};

use crate::MigrationError;
use crate::report::MigrationReport;

/// Whether a migration reads the traces without a header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// It reads them.
    Listed,
    /// The store can't list them.
    Unlisted,
    /// The filter excludes them.
    Filtered,
}

/// Whether to read the traces without a header of `source` for this filter.
pub(crate) async fn listing<B: StorageBackend + ?Sized>(
    source: &B,
    filter: &TraceQuery,
) -> Result<Listing, MigrationError> {
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

/// Records in `report` what `source` has but was not read.
pub(crate) async fn note_unread<B: StorageBackend + ?Sized>(
    report: &mut MigrationReport,
    source: &B,
    filter: TraceQuery,
    headerless: Listing,
) -> Result<(), MigrationError> {
    let traces = source.count_traces(filter).await.map_err(MigrationError::Source)?;
    report.missed = traces.saturating_sub(report.copied.traces + report.unreadable);
    if headerless == Listing::Unlisted {
        report.headerless_unlisted = true;
        let stats = source.stats().await.map_err(MigrationError::Source)?;
        // This count includes the events of missed traces. Without missed traces, it is the events of headerless ones.
        report.unread_events = stats.events.saturating_sub(report.copied.events);
    }
    Ok(())
}
