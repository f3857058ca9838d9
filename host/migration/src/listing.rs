use reflow_tracing_model::TraceQuery;
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};

use crate::MigrationError;

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
