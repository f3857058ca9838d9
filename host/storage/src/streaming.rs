//! Reads of large stores and large traces in batches of bounded size, to bound memory.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceQuery};

use super::{PageRequest, StorageBackend, StorageError, TracePart};

/// Headers read per page. Their tags can make them large.
const HEADERS: usize = 100;

/// What is left of the events and bytes that one batch may hold.
pub struct BatchBudget {
    events: usize,
    bytes: usize,
}

impl Default for BatchBudget {
    /// The budget of an empty batch.
    fn default() -> Self {
        Self { events: 2_000, bytes: 4 << 20 }
    }
}

impl BatchBudget {
    /// Subtracts an event.
    pub fn take(&mut self, event: &TraceEvent) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(event.approximate_bytes());
    }

    /// Subtracts a header.
    pub fn take_header(&mut self, header: &FlowTrace) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(header.approximate_header_bytes());
    }

    /// Whether the batch may hold another event.
    pub fn is_left(&self) -> bool {
        self.events > 0 && self.bytes > 0
    }
}

/// Groups events into batches.
pub fn event_batches<'a>(
    events: BoxStream<'a, Result<TraceEvent, StorageError>>,
) -> BoxStream<'a, Result<Vec<TraceEvent>, StorageError>> {
    stream::try_unfold(events, |mut events| async move {
        let mut budget = BatchBudget::default();
        let mut batch = Vec::new();
        while budget.is_left()
            && let Some(event) = events.try_next().await?
        {
            budget.take(&event);
            batch.push(event);
        }
        Ok((!batch.is_empty()).then_some((batch, events)))
    })
    .boxed()
}

/// The provided `stream_traces`: pages of headers, each followed by the stream of its events.
pub(super) fn trace_by_trace<B: StorageBackend + ?Sized>(
    backend: &B,
    query: TraceQuery,
) -> BoxStream<'_, Result<TracePart, StorageError>> {
    headers(backend, query)
        .map_ok(move |header| {
            let events = event_batches(backend.stream_events(header.trace_id)).map_ok(TracePart::Events);
            stream::once(async { Ok(TracePart::Header(header)) }).chain(events)
        })
        .try_flatten()
        .boxed()
}

/// The matching headers, regardless of limit and offset.
fn headers<B: StorageBackend + ?Sized>(
    backend: &B,
    query: TraceQuery,
) -> BoxStream<'_, Result<FlowTrace, StorageError>> {
    let first = TraceQuery { limit: Some(HEADERS), offset: None, page_token: None, ..query };
    stream::try_unfold(Some(first), move |query| async move {
        let Some(query) = query else { return Ok::<_, StorageError>(None) };
        let page = backend.query_page(PageRequest::headers(query.clone())).await?;
        let next = page.next_page_token.map(|token| TraceQuery { page_token: Some(token), ..query });
        Ok(Some((stream::iter(page.traces.into_iter().map(Ok)), next)))
    })
    .try_flatten()
    .boxed()
}
