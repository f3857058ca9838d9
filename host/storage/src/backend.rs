use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt};
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};

use super::{StorageError, StorageExtras, StorageMetrics};

/// A place where traces live: the contract that every backend keeps, built in or not.
///
/// Six methods are required. The others are provided, correct on top of those six, and a backend overrides those that it
/// can do better. Shorthands for callers are in [`StorageBackendExt`](super::StorageBackendExt), which nobody implements;
/// what only some stores can do is in [`StorageExtras`]. The conformance suite checks what is written here.
///
/// # Writes
/// - `Ok` means stored, to the durability that the backend is configured for. What was acknowledged MUST survive the
///   death of the process, unless the backend says that it keeps nothing, as `MemoryStorage` does.
/// - Writes are idempotent. An event is identified by its trace, its timestamp and its event id; storing one again MUST
///   change nothing.
///   A trace header that is stored again replaces the earlier header and leaves the events alone.
/// - Events MAY arrive before the header of their trace, and in any order. They MUST be kept.
/// - A batch MAY be stored in part when it fails; storing it again completes it.
///
/// # Reads
/// - A read that begins after a write was acknowledged MUST see it.
/// - Everything comes back exactly as it was given: nanoseconds, bytes, text with `\u0000`, 64-bit integers.
/// - The events of a trace come ordered by (timestamp, event id), traces as [`SortOrder`](reflow_tracing_model::SortOrder) says.
///
/// # Arguments
/// What can't be stored exactly (see [`FlowTrace::validate`]) and a query that makes no sense
/// (see [`TraceQuery::validate`]) MUST be refused with [`StorageError::InvalidArgument`], changing nothing; in a batch too,
/// where one such element refuses the whole.
///
/// # Wrappers
/// A type that wraps a backend MUST forward every method, the provided ones too. A [`Layer`](super::Layer) does that by itself.
#[async_trait]
pub trait StorageBackend: Send + Sync {
    /// Stores a trace: its header, and its events as [`store_events`](Self::store_events) would.
    ///
    /// Events that are stored already stay, also those that `trace` does not hold.
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError>;

    /// The trace with all of its events; `None` while no header is stored for it.
    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError>;

    /// The traces that match, complete with their events. Traces without a header are never among them.
    ///
    /// The answer holds at most [`TraceQuery::limit`] traces; [`query_page`](Self::query_page) says whether there are more.
    /// [`TraceQuery::page_token`] is a matter of `query_page`; a backend that leaves that one provided never sees a token
    /// of its own, and MAY disregard it here.
    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError>;

    /// Stores one event of a trace.
    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError>;

    /// The events of a trace, also when no header is stored for it; none when the trace is unknown.
    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError>;

    /// Whether the store can do its work now: read, and take a write. MUST reach what a write would need, the room on a disk
    /// and the backend's own tasks included; MUST NOT change anything that is stored.
    async fn health_check(&self) -> Result<(), StorageError>;

    /// Stores several traces, like [`store_trace`](Self::store_trace) for each.
    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        for trace in traces {
            self.store_trace(trace).await?;
        }
        Ok(())
    }

    /// Stores several events, like [`store_event`](Self::store_event) for each. They MAY belong to several traces.
    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        for (trace_id, event) in events {
            self.store_event(trace_id, event).await?;
        }
        Ok(())
    }

    /// The traces that match, a page at a time, with as much of each as `request` asks for.
    ///
    /// Following the tokens from the first page to the last gives every trace once that matched all the while, whatever
    /// is stored meanwhile. A token is valid for the predicates, the order and the [`Detail`] that it was given for.
    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        super::paging::by_position(self, request).await
    }

    /// The headers of traces, without their events, in the order asked for; `None` where no header is stored.
    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let mut headers = Vec::with_capacity(trace_ids.len());
        for trace_id in trace_ids {
            let trace = self.get_trace(trace_id).await?;
            headers.push(trace.map(|trace| FlowTrace { events: Vec::new(), ..trace }));
        }
        Ok(headers)
    }

    /// The events of a trace, as [`get_events`](Self::get_events) gives them, one after another: however many there are,
    /// few SHOULD be in memory.
    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        let events = self.get_events(trace_id).map_ok(|events| stream::iter(events).map(Ok));
        events.try_flatten_stream().boxed()
    }

    /// Every trace that matches, whatever the query's window, in its order and piece by piece: a header, then the events
    /// of that trace in their order.
    ///
    /// However large the store and its traces, few events SHOULD be in memory; a piece MUST hold at most
    /// [`MAX_EVENTS`](TracePart::MAX_EVENTS). What was there all the while is in the stream, once. What is stored or
    /// deleted meanwhile MAY be in it, or be missing, in part too.
    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        super::streaming::trace_by_trace(self, query)
    }

    /// Deletes traces with their events. Returns how many there were to delete.
    ///
    /// A trace of which only events are stored counts too. A backend that can't delete MUST return
    /// [`StorageError::Unsupported`].
    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        let _ = deletion;
        Err(StorageError::Unsupported("this backend can't delete traces".into()))
    }

    /// The versions of a flow among its stored traces, ascending, each once.
    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        super::paging::flow_versions(self, flow_id).await
    }

    /// What the store holds.
    async fn stats(&self) -> Result<StorageStats, StorageError> {
        super::paging::stats(self).await
    }

    /// How the store performs. Latencies are those that [`Metered`](super::metrics::Metered) measured, which is
    /// around every built-in backend; without it they are 0. To find the size of the store, a backend SHOULD NOT count its rows.
    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        Ok(StorageMetrics::unmeasured(self.stats().await?.bytes))
    }

    /// Waits until everything acknowledged is where a crash of the machine can't reach it, as far as the backend can tell.
    async fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Ends the work: flushes, releases files and connections. Calls after it, or under way, MAY fail; they
    /// MUST NOT panic or hang.
    async fn close(&self) -> Result<(), StorageError> {
        self.flush().await
    }

    /// What this store can do beyond the contract.
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

/// What [`query_page`](StorageBackend::query_page) is asked for. From a [`TraceQuery`]: whole traces, not counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageRequest {
    /// Which traces, in which order, from where on.
    pub query: TraceQuery,
    /// How much of each trace.
    pub detail: Detail,
    /// Whether [`TracePage::total`] is wanted: how many traces match, whatever the query's window.
    pub total: bool,
}

impl PageRequest {
    /// A page of headers.
    pub fn headers(query: TraceQuery) -> Self {
        Self { query, detail: Detail::Headers, total: false }
    }

    /// No traces, only how many match.
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
    /// These. An id MAY occur twice, and counts once.
    Traces(Vec<TraceId>),
    /// All that started before a time. Traces without a header stay.
    StartedBefore(DateTime<Utc>),
}

/// A piece of what [`stream_traces`](StorageBackend::stream_traces) gives.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // Few are in memory, and none is copied.
pub enum TracePart {
    /// A trace begins: its header, without events.
    Header(FlowTrace),
    /// The next events of that trace, in their order; at least one.
    Events(Vec<TraceEvent>),
    /// Something is stored that can't be read, and is left out: where it is, and what is wrong with it.
    Unreadable(String),
}

impl TracePart {
    /// The most events in a piece.
    pub const MAX_EVENTS: usize = 10_000;
}

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageStats {
    /// Traces with a header.
    pub traces: u64,
    /// Events, those of traces without a header included where the backend can see them.
    pub events: u64,
    /// The bytes that the store takes up, where the backend can tell.
    pub bytes: Option<u64>,
    /// The earliest start of a trace.
    pub oldest: Option<DateTime<Utc>>,
    /// The latest start of a trace.
    pub newest: Option<DateTime<Utc>>,
}
