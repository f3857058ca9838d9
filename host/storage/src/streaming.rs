//! Stores read piece by piece, so that neither a large store nor a large trace fills the memory.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceQuery};

use super::{PageRequest, StorageBackend, StorageError, TracePart};

/// Headers that are read at a time.
const HEADERS: usize = 1_000;

/// How much goes into one piece, or is read at a time.
pub struct Room {
    events: usize,
    bytes: usize,
}

impl Default for Room {
    /// The room of a piece.
    fn default() -> Self {
        Self { events: 2_000, bytes: 4 << 20 }
    }
}

impl Room {
    /// The room of a piece.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the room of an event.
    pub fn take(&mut self, event: &TraceEvent) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(event.approximate_bytes());
    }

    /// Takes the room of a header.
    pub fn take_header(&mut self) {
        self.events = self.events.saturating_sub(1);
    }

    /// Whether another event fits.
    pub fn is_left(&self) -> bool {
        self.events > 0 && self.bytes > 0
    }
}

/// Events in pieces.
pub fn pieces<'a>(
    events: BoxStream<'a, Result<TraceEvent, StorageError>>,
) -> BoxStream<'a, Result<Vec<TraceEvent>, StorageError>> {
    stream::try_unfold(events, |mut events| async move {
        let mut room = Room::new();
        let mut piece = Vec::new();
        while room.is_left()
            && let Some(event) = events.try_next().await?
        {
            room.take(&event);
            piece.push(event);
        }
        Ok((!piece.is_empty()).then_some((piece, events)))
    })
    .boxed()
}

/// What a backend that streams events streams traces with.
pub(super) fn trace_by_trace<B: StorageBackend + ?Sized>(
    backend: &B,
    query: TraceQuery,
) -> BoxStream<'_, Result<TracePart, StorageError>> {
    headers(backend, query)
        .map_ok(move |header| {
            let events = pieces(backend.stream_events(header.trace_id)).map_ok(TracePart::Events);
            stream::once(async { Ok(TracePart::Header(header)) }).chain(events)
        })
        .try_flatten()
        .boxed()
}

/// The headers that match, whatever the query's window.
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
