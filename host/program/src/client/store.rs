//! The store of a running host, for reading.
//!
//! The protocol gives whole traces only, so a page is read in parts of about [`PART_BYTES`]: a connection takes no answer that is
//! much larger. A part continues after the last trace of the part before, as a page token says it, so that traces that are
//! stored meanwhile shift nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OnceCell};

use super::connection::Connection;
use super::error::ClientError;
use super::url::HostUrl;
use crate::server::reflow::{TraceResponse, TracingRequest, TracingResponse};
use reflow_tracing::storage::{
    Detail, FlowTrace, PageRequest, StorageBackend, StorageError, StorageStats, TraceEvent, TraceId, TracePart,
    TraceQuery,
};
use reflow_tracing::{FlowId, FlowVersion, TracePage};
use reflow_tracing_model::Position;
use reflow_tracing_storage::streaming::event_batches;

/// What an answer should have, in bytes. It may have more, because the size of a trace is known only when it is there.
const PART_BYTES: usize = 8 << 20;

/// The traces of the first part, whose size nobody knows.
const FIRST_TRACES: usize = 16;

/// The most traces of a part.
const MAX_TRACES: usize = 1_000;

/// The store of a host. It is only read: what writes is refused.
pub struct HostStore {
    url: HostUrl,
    /// `None` after an error, which may have left an answer behind.
    connection: Mutex<Option<Connection>>,
    requests: AtomicU64,
    /// What the host held when its traces began to be read as a stream.
    before: OnceCell<StorageStats>,
}

impl HostStore {
    /// Connects to a host.
    pub async fn open(url: HostUrl) -> Result<Self, ClientError> {
        let connection = Mutex::new(Some(Connection::open(&url).await?));
        Ok(Self { url, connection, requests: AtomicU64::new(0), before: OnceCell::new() })
    }

    async fn ask<T: DeserializeOwned>(&self, request: &TracingRequest) -> Result<(T, usize), ClientError> {
        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => Connection::open(&self.url).await?,
        };
        let answer = connection.ask(request).await;
        if matches!(answer, Ok(_) | Err(ClientError::Refused { .. })) {
            *slot = Some(connection);
        }
        answer
    }

    fn unexpected<T>(&self, answer: &impl serde::Serialize) -> Result<T, ClientError> {
        Err(ClientError::not_an_answer(&self.url, &serde_json::to_string(answer).unwrap_or_default()))
    }

    fn request_id(&self) -> Option<serde_json::Value> {
        Some(self.requests.fetch_add(1, Relaxed).into())
    }

    /// The traces of a query, how many match without its window, and the bytes of the answer.
    async fn query(&self, query: TraceQuery) -> Result<(Vec<FlowTrace>, u64, usize), ClientError> {
        let request = TracingRequest::QueryTraces { request_id: self.request_id(), query };
        match self.ask(&request).await? {
            (TracingResponse::QueryResults { traces, total_count, .. }, bytes) => Ok((traces, total_count, bytes)),
            (other, _) => self.unexpected(&other),
        }
    }

    /// The next part, of at most `wanted` traces.
    async fn next_part(&self, parts: &mut Parts, wanted: usize) -> Result<Vec<FlowTrace>, StorageError> {
        if parts.is_at_end {
            return Ok(Vec::new());
        }
        loop {
            let limit = parts.traces.min(wanted);
            match self.query(TraceQuery { limit: Some(limit), ..parts.query.clone() }).await {
                Ok((traces, _, bytes)) => {
                    let problem = |problem: &str| ClientError::not_an_answer(&self.url, problem);
                    parts.read(&traces, limit, bytes).map_err(problem)?;
                    return Ok(traces);
                }
                Err(error) if limit > 1 && error.is_too_large() => parts.traces = limit.div_ceil(4),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_only<T>(&self) -> Result<T, StorageError> {
        Err(StorageError::Unsupported(format!(
            "{} is a running host, whose store is only read by this command",
            self.url
        )))
    }
}

/// A query that is read part by part.
struct Parts {
    /// For what follows the parts so far.
    query: TraceQuery,
    /// The last trace so far.
    last: Option<Position>,
    /// How many traces to ask for.
    traces: usize,
    is_at_end: bool,
}

impl Parts {
    fn new(query: TraceQuery) -> Self {
        Self { query, last: None, traces: FIRST_TRACES, is_at_end: false }
    }

    /// Continues after a part of this many bytes, for which `limit` traces were asked.
    fn read(&mut self, traces: &[FlowTrace], limit: usize, bytes: usize) -> Result<(), &'static str> {
        let key = |position: Position| position.sort_key(self.query.order);
        if let (Some(before), Some(first)) = (self.last, traces.first())
            && key(Position::of(first)) <= key(before)
        {
            return Err("the same traces again, although it was asked for those that follow");
        }
        self.is_at_end = traces.len() < limit;
        if let Some(last) = traces.last().map(Position::of) {
            self.last = Some(last);
            self.query.offset = None;
            self.query.page_token = Some(last.token());
        }
        let fitting = (PART_BYTES * traces.len().max(1)).checked_div(bytes).unwrap_or(MAX_TRACES);
        // The next traces may be larger.
        self.traces = fitting.clamp(1, MAX_TRACES.min(self.traces * 4));
        Ok(())
    }
}

#[async_trait]
impl StorageBackend for HostStore {
    async fn store_trace(&self, _: FlowTrace) -> Result<(), StorageError> {
        self.read_only()
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let request = TracingRequest::GetTrace { request_id: self.request_id(), trace_id };
        match self.ask(&request).await? {
            (TracingResponse::TraceData { trace, .. }, _) => Ok(trace),
            (other, _) => Ok(self.unexpected(&other)?),
        }
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, _: TraceId, _: TraceEvent) -> Result<(), StorageError> {
        self.read_only()
    }

    /// The protocol has no request for the events of a trace whose header is not stored: there are none.
    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        Ok(self.get_trace(trace_id).await?.map_or_else(Vec::new, |trace| trace.events))
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        match self.ask(&TracingRequest::Ping).await? {
            (TracingResponse::Pong, _) => Ok(()),
            (other, _) => Ok(self.unexpected(&other)?),
        }
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        let PageRequest { query, detail, total } = request;
        query.validate().map_err(StorageError::InvalidArgument)?;
        let limit = query.checked_limit().map_err(StorageError::InvalidArgument)?;
        let total = if total {
            let all = TraceQuery { limit: Some(0), offset: None, page_token: None, ..query.clone() };
            Some(self.query(all).await?.1)
        } else {
            None
        };
        let mut traces: Vec<FlowTrace> = Vec::new();
        let mut parts = Parts::new(query);
        // One trace more than the page holds shows whether another page follows.
        while limit > 0 && traces.len() <= limit {
            let found = self.next_part(&mut parts, limit + 1 - traces.len()).await?;
            if found.is_empty() {
                break;
            }
            traces.extend(found.into_iter().map(|trace| match detail {
                Detail::Traces => trace,
                Detail::Headers => FlowTrace { events: Vec::new(), ..trace },
            }));
        }
        let is_more = limit > 0 && traces.len() > limit;
        traces.truncate(limit);
        let next_page_token = traces.last().filter(|_| is_more).map(|last| Position::of(last).token());
        Ok(TracePage { traces, next_page_token, total })
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        let first = TraceQuery { limit: None, offset: None, page_token: None, ..query };
        stream::try_unfold(Parts::new(first), move |mut parts| async move {
            self.before.get_or_try_init(|| self.stats_now()).await?;
            let found = self.next_part(&mut parts, MAX_TRACES).await?;
            let found = (!found.is_empty()).then(|| stream::iter(found.into_iter().map(Ok::<_, StorageError>)));
            Ok::<_, StorageError>(found.map(|found| (found, parts)))
        })
        .try_flatten()
        .map_ok(|mut trace| {
            let events = std::mem::take(&mut trace.events);
            let events = event_batches(stream::iter(events).map(Ok).boxed()).map_ok(TracePart::Events);
            stream::once(async { Ok(TracePart::Header(trace)) }).chain(events)
        })
        .try_flatten()
        .boxed()
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        match self.ask(&TracingRequest::GetFlowVersions { flow_id }).await? {
            (TracingResponse::FlowVersions { versions }, _) => Ok(versions),
            (other, _) => Ok(self.unexpected(&other)?),
        }
    }

    /// What the host holds; of a store that was read as a stream, what it held before. What arrived since then is not missing.
    async fn stats(&self) -> Result<StorageStats, StorageError> {
        match self.before.get() {
            Some(before) => Ok(before.clone()),
            None => self.stats_now().await,
        }
    }

    async fn close(&self) -> Result<(), StorageError> {
        if let Some(connection) = self.connection.lock().await.take() {
            connection.close().await;
        }
        Ok(())
    }
}

impl HostStore {
    async fn stats_now(&self) -> Result<StorageStats, StorageError> {
        let data = match self.ask(&TracingRequest::GetMetrics).await? {
            (TraceResponse::Metrics { data }, _) => data,
            (other, _) => return Ok(self.unexpected(&other)?),
        };
        let count = |name: &str| data[name].as_u64();
        let time = |name: &str| data[name].as_str().and_then(|text| text.parse().ok());
        Ok(StorageStats {
            traces: count("traces").unwrap_or(0),
            events: count("events").unwrap_or(0),
            bytes: count("bytes"),
            oldest: time("oldest"),
            newest: time("newest"),
        })
    }
}
