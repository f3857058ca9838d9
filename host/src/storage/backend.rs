use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt};

use super::{StorageError, StorageMetrics};
use crate::model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery};

/// A place where traces live: the contract that every backend keeps, built in or not.
///
/// Six methods are required; the others are provided, correct on top of those six, and meant to be overridden where a
/// backend can do better. The suite in `storage::conformance` (feature `conformance`) checks what is written here.
///
/// # Writes
/// - `Ok` means stored, to the durability that the backend is configured for. What was acknowledged MUST survive the
///   death of the process, unless the backend says that it keeps nothing ([`MemoryStorage`](super::MemoryStorage)).
/// - Writes are idempotent. An event is identified by its trace, its timestamp and its event id; storing one again MUST
///   change nothing.
///   A trace header that is stored again replaces the earlier header and leaves the events alone.
/// - Events MAY arrive before the header of their trace, and in any order. They MUST be kept.
/// - A batch MAY be stored in part when it fails; storing it again completes it.
///
/// # Reads
/// - A read that begins after a write was acknowledged MUST see it.
/// - Everything comes back exactly as it was given: nanoseconds, bytes, text with `\u0000`, 64-bit integers.
/// - The events of a trace come ordered by (timestamp, event id), traces as [`SortOrder`](crate::SortOrder) says.
///
/// # Arguments
/// What can't be stored exactly (see [`FlowTrace::validate`]) and a query that makes no sense
/// (see [`TraceQuery::validate`]) MUST be refused with [`StorageError::InvalidArgument`], changing nothing; in a batch too,
/// where one such element refuses the whole.
///
/// # Wrappers
/// A type that wraps a backend MUST forward every method, the provided ones too.
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

    /// What an operator should know although the store can do its work; empty when there is nothing. MUST NOT wait.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

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

    /// The traces that match, a page at a time.
    ///
    /// Following the tokens from the first page to the last gives every trace once that matched all the while, whatever
    /// is stored meanwhile. A token is good for the predicates and the order that it was given for.
    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        super::paging::by_position(self, query).await
    }

    /// The headers of the traces that match, without their events, a page at a time: [`query_page`](Self::query_page)
    /// for those who need no events. A token is good for the method that gave it.
    async fn query_headers(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        let mut page = self.query_page(query).await?;
        page.traces.iter_mut().for_each(|trace| trace.events = Vec::new());
        Ok(page)
    }

    /// How many traces match, whatever the query's window.
    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        super::paging::count(self, query).await
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

    /// The ids of the traces of which events are stored and no header, ascending: at most `limit`, those that come after
    /// `after`.
    ///
    /// A backend that can't tell MUST say [`StorageError::Unsupported`].
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        let _ = (after, limit);
        Err(StorageError::Unsupported("this backend can't list traces without a header".into()))
    }

    /// The time before which the store lets traces expire: one that started earlier may be deleted at any moment, also
    /// right after it was stored. `None` when it keeps traces whatever their age.
    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Deletes a trace with its events. Says whether there was anything to delete.
    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        let _ = trace_id;
        Err(StorageError::Unsupported("this backend deletes no traces".into()))
    }

    /// Deletes traces with their events. Says how many of them there were.
    async fn delete_traces(&self, trace_ids: Vec<TraceId>) -> Result<u64, StorageError> {
        let mut deleted = 0;
        for trace_id in trace_ids {
            deleted += u64::from(self.delete_trace(trace_id).await?);
        }
        Ok(deleted)
    }

    /// Deletes the traces that started before `time`, with their events. Says how many there were.
    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        super::paging::delete_before(self, time).await
    }

    /// Drops the oldest traces wholesale, where the store keeps traces together by time, in partitions for example: those of the
    /// oldest part that has any, if it ended at `ended_by` or before. Says how many there were, 0 when there is no such part;
    /// `None` where traces are not kept in parts.
    async fn drop_oldest_part(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        let _ = ended_by;
        Ok(None)
    }

    /// The versions of a flow among its stored traces, ascending, each once.
    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        super::paging::flow_versions(self, flow_id).await
    }

    /// What the store holds.
    async fn stats(&self) -> Result<StorageStats, StorageError> {
        super::paging::stats(self).await
    }

    /// How the store performs. Latencies are those that [`Metered`](super::layers::metrics::Metered) measured, which is
    /// around every built-in backend; without it they are 0. To tell the size of the store, a backend SHOULD NOT count what is in it.
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
