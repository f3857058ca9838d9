use futures::TryStreamExt;

use reflow_tracing_model::{FlowTrace, SortOrder, TraceQuery, json_bytes};
use reflow_tracing_storage::{PageRequest, StorageBackend, StorageBackendExt, StorageError};

/// The maximum number of traces to sample. Of a larger store, half of them are sampled at each end.
const SAMPLE: u64 = 256;

/// Estimates the size of traces: the size of the store, divided among them by the length of their JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    bytes_per_weight: f64,
}

impl Estimate {
    /// The estimate for a store of `bytes`.
    pub(super) async fn of(storage: &dyn StorageBackend, bytes: u64) -> Result<Self, StorageError> {
        let traces = storage.count_traces(TraceQuery::default()).await?;
        let at_an_end = if traces <= SAMPLE { SAMPLE } else { SAMPLE / 2 };
        // The oldest traces are deleted first, so their own size counts, not an average.
        let (oldest, mut whole) = weigh_first(storage, SortOrder::OldestFirst, at_an_end).await?;
        if traces > oldest {
            let (newest, weight) = weigh_first(storage, SortOrder::NewestFirst, at_an_end).await?;
            whole += weight / newest.max(1) as f64 * (traces - oldest) as f64;
        }
        // An empty store has no traces to estimate.
        Ok(Self { bytes_per_weight: if whole > 0.0 { bytes as f64 / whole } else { 0.0 } })
    }

    /// The estimated bytes that deleting the trace frees.
    pub(super) async fn bytes(&self, storage: &dyn StorageBackend, header: &FlowTrace) -> Result<f64, StorageError> {
        Ok(weigh(storage, header).await? as f64 * self.bytes_per_weight)
    }
}

/// The number and the total weight of the first traces in an order, at most `limit`.
async fn weigh_first(storage: &dyn StorageBackend, order: SortOrder, most: u64) -> Result<(u64, f64), StorageError> {
    let query = TraceQuery { order, limit: Some(most as usize), ..TraceQuery::default() };
    let headers = storage.query_page(PageRequest::headers(query)).await?.traces;
    let mut weight = 0;
    for header in &headers {
        weight += weigh(storage, header).await?;
    }
    Ok((headers.len() as u64, weight as f64))
}

/// The length of a trace's JSON, in bytes.
async fn weigh(storage: &dyn StorageBackend, header: &FlowTrace) -> Result<u64, StorageError> {
    let events = storage.stream_events(header.trace_id);
    events.try_fold(json_bytes(header), async |bytes, event| Ok(bytes + json_bytes(&event))).await
}
