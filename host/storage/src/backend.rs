use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt};
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};

use super::{StorageError, StorageExtras, StorageMetrics};

/// A store for traces: the contract of every backend, built in or custom.
///
/// Six methods are required. The provided methods are correct on top of those six; a backend overrides them to be faster.
/// [`StorageBackendExt`](super::StorageBackendExt) adds shorthands for callers, and [`StorageExtras`] optional capabilities.
/// The conformance suite checks this contract.
///
/// # Writes
/// - `Ok` means stored, with the durability that the backend is configured for. An acknowledged write MUST survive a crash of
///   the process, unless the backend documents that it is not persistent, like `MemoryStorage`.
/// - Writes are idempotent. A trace, a timestamp and an event id identify an event; storing it again MUST change nothing.
///   Storing a trace header again replaces the earlier header and does not affect the events.
/// - Events MAY arrive before the header of their trace and in any order. The backend MUST keep them.
/// - A batch that fails MAY be stored in part; storing it again completes it.
///
/// # Reads
/// - A read that begins after a write was acknowledged MUST see it.
/// - Reads return exactly what was stored: nanoseconds, bytes, text with `\u0000`, 64-bit integers.
/// - Events are ordered by (timestamp, event id), traces as in [`SortOrder`](reflow_tracing_model::SortOrder).
///
/// # Arguments
/// A backend MUST reject values that can't be stored exactly (see [`FlowTrace::validate`]) and invalid queries (see
/// [`TraceQuery::validate`]) with [`StorageError::InvalidArgument`], and change nothing. One invalid element rejects its whole
/// batch.
///
/// # Wrappers
/// A type that wraps a backend MUST forward every method, including the provided ones. [`Layer`](super::Layer) does that.
#[async_trait]
pub trait StorageBackend: Send + Sync {
    /// Stores a trace: its header, and its events as [`store_events`](Self::store_events) would.
    ///
    /// Events that are already stored stay, even if `trace` doesn't contain them.
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError>;

    /// The trace with all of its events; `None` if its header is not stored.
    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError>;

    /// The matching traces, complete with their events. Traces without a header never match.
    ///
    /// Returns at most [`TraceQuery::limit`] traces; [`query_page`](Self::query_page) says whether there are more. A backend
    /// that doesn't override `query_page` never gets a [`TraceQuery::page_token`] and MAY ignore it.
    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError>;

    /// Stores one event of a trace.
    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError>;

    /// The events of a trace, even if its header is not stored; empty if the trace is unknown.
    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError>;

    /// Whether the store can read and write now. MUST check everything that a write needs, including disk space and the
    /// backend's own tasks. MUST NOT change stored data.
    async fn health_check(&self) -> Result<(), StorageError>;

    /// Stores several traces, each as [`store_trace`](Self::store_trace) does.
    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        for trace in traces {
            self.store_trace(trace).await?;
        }
        Ok(())
    }

    /// Stores several events, each as [`store_event`](Self::store_event) does. They MAY belong to several traces.
    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        for (trace_id, event) in events {
            self.store_event(trace_id, event).await?;
        }
        Ok(())
    }

    /// One page of the matching traces, with the [`Detail`] of `request`.
    ///
    /// Following the tokens from the first page to the last returns each trace once that matched the whole time, regardless of
    /// concurrent writes. A token is valid for the conditions, the order and the detail of its request.
    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        super::paging::by_position(self, request).await
    }

    /// The headers of traces, without their events, in the order of `trace_ids`; `None` for a header that is not stored.
    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let mut headers = Vec::with_capacity(trace_ids.len());
        for trace_id in trace_ids {
            let trace = self.get_trace(trace_id).await?;
            headers.push(trace.map(|trace| FlowTrace { events: Vec::new(), ..trace }));
        }
        Ok(headers)
    }

    /// The events of a trace, as [`get_events`](Self::get_events) returns them. A backend SHOULD keep only a few in memory.
    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        let events = self.get_events(trace_id).map_ok(|events| stream::iter(events).map(Ok));
        events.try_flatten_stream().boxed()
    }

    /// All matching traces, regardless of limit and offset, in the query's order. Each trace is a header followed by batches of
    /// its events in order.
    ///
    /// A backend SHOULD keep only a few events in memory. A batch MUST hold at most [`MAX_EVENTS`](TracePart::MAX_EVENTS)
    /// events. The stream contains once what is stored the whole time. What is stored or deleted while it is read MAY be
    /// missing, also in part.
    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        super::streaming::trace_by_trace(self, query)
    }

    /// Deletes traces with their events. Returns the number of deleted traces, including traces without a header.
    ///
    /// A backend that can't delete MUST return
    /// [`StorageError::Unsupported`].
    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        let _ = deletion;
        Err(StorageError::Unsupported("this backend can't delete traces".into()))
    }

    /// The distinct versions of a flow among its stored traces, ascending.
    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        super::paging::flow_versions(self, flow_id).await
    }

    /// The number of traces and events, the size and the time range of the store.
    async fn stats(&self) -> Result<StorageStats, StorageError> {
        super::paging::stats(self).await
    }

    /// Performance of the store. [`Metered`](super::metrics::Metered), which wraps every built-in backend, measures the
    /// latencies; without it they are 0. A backend SHOULD NOT count rows to find its size.
    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        Ok(StorageMetrics::unmeasured(self.stats().await?.bytes))
    }

    /// Waits until acknowledged writes survive a crash of the machine, as far as the backend can ensure it.
    async fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Closes the store: flushes, and releases files and connections. Later and concurrent calls MAY fail; they MUST NOT panic
    /// or hang.
    async fn close(&self) -> Result<(), StorageError> {
        self.flush().await
    }

    /// The optional capabilities of this store.
    fn extras(&self) -> Option<&dyn StorageExtras> {
        None
    }
}

/// How much of each trace a page holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// Headers, without events.
    Headers,
    /// Headers and events.
    #[default]
    Traces,
}

/// The argument of [`query_page`](StorageBackend::query_page). Converted from a [`TraceQuery`]: whole traces, no total.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageRequest {
    /// Selects the traces, their order and the page.
    pub query: TraceQuery,
    /// How much of each trace the page holds.
    pub detail: Detail,
    /// Whether to compute [`TracePage::total`], the number of matching traces.
    pub total: bool,
}

impl PageRequest {
    /// A page of headers.
    pub fn headers(query: TraceQuery) -> Self {
        Self { query, detail: Detail::Headers, total: false }
    }

    /// Only the number of matching traces.
    pub fn count(query: TraceQuery) -> Self {
        let query = TraceQuery { limit: Some(0), offset: None, page_token: None, ..query };
        Self { query, detail: Detail::Headers, total: true }
    }
}

impl From<TraceQuery> for PageRequest {
    fn from(query: TraceQuery) -> Self {
        Self { query, ..Self::default() }
    }
}

/// Which traces [`delete`](StorageBackend::delete) deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// The traces with these ids. An id MAY occur twice, and counts once.
    Traces(Vec<TraceId>),
    /// All traces that started before a time. Traces without a header stay.
    StartedBefore(DateTime<Utc>),
}

/// An item of [`stream_traces`](StorageBackend::stream_traces).
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // Few exist at a time, and they are moved, not copied.
pub enum TracePart {
    /// The start of a trace: its header, without events.
    Header(FlowTrace),
    /// The next events of that trace in order; at least one.
    Events(Vec<TraceEvent>),
    /// Stored data that can't be read and is skipped: its location and the problem.
    Unreadable(String),
}

impl TracePart {
    /// The maximum number of events in one item.
    pub const MAX_EVENTS: usize = 10_000;
}

/// The contents of a store in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageStats {
    /// Traces with a header.
    pub traces: u64,
    /// Events, including those of traces without a header if the backend can count them.
    pub events: u64,
    /// The size of the store in bytes, if the backend can report it.
    pub bytes: Option<u64>,
    /// The earliest start of a trace.
    pub oldest: Option<DateTime<Utc>>,
    /// The latest start of a trace.
    pub newest: Option<DateTime<Utc>>,
}
